// Lightstep's own Terraform client library against a base URL: every resource that it manages is made, read, changed
// and removed, as `terraform apply` and `destroy` do.
//
//	client BASE_URL ORGANIZATION PROJECT FOREIGN_PROJECT
//
// One JSON line for each step: {"step":"…","error":"…"}; the error is empty where it went well. The key is
// that of LIGHTSTEP_KEY.
package main

import (
	"context"
	"encoding/json"
	"os"

	"github.com/lightstep/terraform-provider-lightstep/client"
)

func main() {
	base, organization, project, foreign := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	c := client.NewClient(os.Getenv("LIGHTSTEP_KEY"), organization, base)
	ctx := context.Background()
	out := json.NewEncoder(os.Stdout)
	tell := func(step string, err error) bool {
		words := ""
		if err != nil {
			words = err.Error()
		}
		_ = out.Encode(map[string]string{"step": step, "error": words})
		return err == nil
	}

	stream, err := c.CreateStream(ctx, project, "slow carts", `service IN ("cart")`, nil)
	if tell("create stream", err) {
		_, err = c.GetStream(ctx, project, stream.ID)
		tell("read stream", err)
		_, err = c.ListStreams(ctx, project)
		tell("list streams", err)
		stream.Attributes.Name = "slow carts, renamed"
		_, err = c.UpdateStream(ctx, project, stream.ID, stream)
		tell("update stream", err)
		condition, err := c.CreateStreamCondition(ctx, project, "carts are slow", "err > .4", 300000, stream.ID)
		if tell("create condition", err) {
			_, err = c.GetStreamCondition(ctx, project, condition.ID)
			tell("read condition", err)
			tell("delete condition", c.DeleteStreamCondition(ctx, project, condition.ID))
		}
		dashboard, err := c.CreateDashboard(ctx, project, "carts", []client.Stream{stream})
		if tell("create dashboard", err) {
			_, err = c.GetDashboard(ctx, project, dashboard.ID)
			tell("read dashboard", err)
			tell("delete dashboard", c.DeleteDashboard(ctx, project, dashboard.ID))
		}
		tell("delete stream", c.DeleteStream(ctx, project, stream.ID))
	}

	attributes := client.WebhookAttributes{
		Name: "pager", DestinationType: "webhook", URL: "https://hooks.example/pager",
		CustomHeaders: map[string]interface{}{"x-key": "shown-once"},
	}
	destination, err := c.CreateDestination(ctx, project, client.Destination{Type: "destination", Attributes: attributes})
	if tell("create destination", err) {
		_, err = c.GetDestination(ctx, project, destination.ID)
		tell("read destination", err)
		tell("delete destination", c.DeleteDestination(ctx, project, destination.ID))
	}

	unified, err := c.CreateUnifiedDashboard(ctx, project, client.UnifiedDashboard{
		Type: "dashboard", Attributes: client.UnifiedDashboardAttributes{Name: "all carts"},
	})
	if tell("create unified dashboard", err) {
		_, err = c.GetUnifiedDashboard(ctx, project, unified.ID)
		tell("read unified dashboard", err)
		unified.Attributes.Name = "all carts, renamed"
		_, err = c.UpdateUnifiedDashboard(ctx, project, unified.ID, unified.Attributes)
		tell("update unified dashboard", err)
		tell("delete unified dashboard", c.DeleteUnifiedDashboard(ctx, project, unified.ID))
	}

	alert, err := c.CreateUnifiedCondition(ctx, project, client.UnifiedCondition{
		Type: "metric_alert", Attributes: client.UnifiedConditionAttributes{Name: "carts fail", Type: "metric_alert"},
	})
	if tell("create alert", err) {
		_, err = c.GetUnifiedCondition(ctx, project, alert.ID)
		tell("read alert", err)
		tell("delete alert", c.DeleteUnifiedCondition(ctx, project, alert.ID))
	}

	_, err = c.ListStreams(ctx, foreign)
	tell("list a foreign project's streams", err)
}
