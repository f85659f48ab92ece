// What the Collector's own library (pdata) makes of exports: each line of standard input is `SIGNAL FROM TO MESSAGE`, the
// encodings `json` or `protobuf` and the message in base64; each is answered by the message in base64, or by `! ` and why not.
package main

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"log"
	"os"
	"strings"

	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
)

type export interface {
	UnmarshalProto([]byte) error
	UnmarshalJSON([]byte) error
	MarshalProto() ([]byte, error)
	MarshalJSON() ([]byte, error)
}

func cross(signal, from, to string, message []byte) ([]byte, error) {
	var read export
	switch signal {
	case "traces":
		read = ptraceotlp.NewExportRequest()
	case "metrics":
		read = pmetricotlp.NewExportRequest()
	case "logs":
		read = plogotlp.NewExportRequest()
	default:
		return nil, fmt.Errorf("no such signal: %s", signal)
	}
	unmarshal, marshal := read.UnmarshalProto, read.MarshalProto
	if from == "json" {
		unmarshal = read.UnmarshalJSON
	}
	if to == "json" {
		marshal = read.MarshalJSON
	}
	if err := unmarshal(message); err != nil {
		return nil, err
	}
	return marshal()
}

func answer(line string) string {
	words := strings.Fields(line)
	if len(words) == 3 {
		words = append(words, "") // an empty message
	}
	if len(words) != 4 {
		return "! not four words"
	}
	message, err := base64.StdEncoding.DecodeString(words[3])
	if err == nil {
		message, err = cross(words[0], words[1], words[2], message)
	}
	if err != nil {
		return "! " + strings.ReplaceAll(err.Error(), "\n", " ")
	}
	return base64.StdEncoding.EncodeToString(message)
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 64<<20)
	out := bufio.NewWriter(os.Stdout)
	for lines.Scan() {
		fmt.Fprintln(out, answer(lines.Text()))
		if err := out.Flush(); err != nil {
			log.Fatal(err)
		}
	}
	if err := lines.Err(); err != nil {
		log.Fatal(err)
	}
}
