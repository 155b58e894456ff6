// Command asks gets its work from a service at $SERVICE, over HTTP, and knows nothing of
// machines: it asks /next for a text, and sends it to /answer with how many it has had.
package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
)

func main() {
	service := "http://" + os.Getenv("SERVICE")
	for n := 1; ; n++ {
		text, err := do(http.Get(service + "/next"))
		if err != nil {
			log.Fatal(err)
		}
		answer := fmt.Sprintf("%d %s", n, text)
		if _, err := do(http.Post(service+"/answer", "text/plain", strings.NewReader(answer))); err != nil {
			log.Fatal(err)
		}
	}
}

// do is what a request has been answered.
func do(r *http.Response, err error) (string, error) {
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	return string(b), err
}
