// A server of Dex as its own command makes it, with what a file of configuration would say: storage in memory, one client,
// the connector that logs the same person in.
//
//	dex HOST:PORT CERTIFICATE KEY WEB
package main

import (
	"context"
	"log"
	"net/http"
	"os"

	"github.com/dexidp/dex/server"
	"github.com/dexidp/dex/storage"
	"github.com/dexidp/dex/storage/memory"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"
)

func main() {
	address, certificate, key, web := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	logger := logrus.New()
	client := storage.Client{
		ID:           "lightkeeper",
		Secret:       "lightkeeper-secret",
		Name:         "lightkeeper",
		RedirectURIs: []string{"http://127.0.0.1/callback"},
	}
	person := storage.Connector{ID: "mock", Type: "mockCallback", Name: "mock", Config: []byte("{}")}
	store := storage.WithStaticClients(memory.New(logger), []storage.Client{client})
	store = storage.WithStaticConnectors(store, []storage.Connector{person})
	dex, err := server.NewServer(context.Background(), server.Config{
		Issuer:             "https://" + address + "/dex",
		Storage:            store,
		SkipApprovalScreen: true,
		Logger:             logger,
		Web:                server.WebConfig{Dir: web},
		PrometheusRegistry: prometheus.NewRegistry(),
	})
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServeTLS(address, certificate, key, dex))
}
