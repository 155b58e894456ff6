// Command hellohttp is the smallest web server that answers: it asks itself once, on
// loopback, and ends. It prints when its main began and when it listened, in ns since
// 1970.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"time"
)

func main() {
	began := time.Now()
	if err := run(began); err != nil {
		fmt.Fprintln(os.Stderr, "hellohttp:", err)
		os.Exit(1)
	}
}

func run(began time.Time) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(began.UnixNano(), time.Now().UnixNano())
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "hello") }))
	r, err := http.Get("http://" + l.Addr().String())
	if err != nil {
		return err
	}
	return r.Body.Close()
}
