// Command hostilelambda asks the Lambda Runtime API for events, and does what an event
// says, such as what it must not. It uses the API itself, to do it wrong.
package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

var (
	api        = os.Getenv("AWS_LAMBDA_RUNTIME_API")
	remembered []string
)

const base = "/2018-06-01/runtime/"

func main() {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGUSR1) // a program that knows signals
	if len(os.Args) > 1 && os.Args[1] == "init" {
		post("init/error", `{"errorMessage":"cannot begin","errorType":"Test.Init"}`)
		os.Exit(1)
	}
	for {
		id, event := next()
		do(id, event)
	}
}

// next waits for an event.
func next() (id, event string) {
	r, err := http.Get("http://" + api + base + "invocation/next")
	if err != nil {
		panic(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != 200 {
		panic(fmt.Sprint(r.StatusCode, err))
	}
	return r.Header.Get("Lambda-Runtime-Aws-Request-Id"), string(text)
}

func post(what, body string) string {
	r, err := http.Post("http://"+api+base+what, "application/json", strings.NewReader(body))
	if err != nil {
		return err.Error()
	}
	defer r.Body.Close()
	text, _ := io.ReadAll(r.Body)
	return fmt.Sprintf("%d %s", r.StatusCode, text)
}

func do(id, event string) {
	what, rest, _ := strings.Cut(event, " ")
	respond := func(text string) string { return post("invocation/"+id+"/response", text) }
	switch what {
	case "exit":
		os.Exit(4)
	case "panic":
		panic("at once")
	case "spin":
		spin()
	case "next": // without an answer
		next()
	case "error":
		post("invocation/"+id+"/error", `{"errorMessage":"no good","errorType":"Test"}`)
	case "wrong": // ids, states and paths that are none
		respond(strings.Join([]string{
			post("invocation/x/response", "a"), post("invocation/x/error", "b"),
			post("init/error", "c"), post("invocation/"+id+"/what", "d"), post("nothing", "e"),
		}, "\n"))
	case "twice":
		respond("first")
		remembered = append(remembered, respond("second"))
	case "long":
		remembered = append(remembered, respond(strings.Repeat("x", 7<<20)))
	case "break": // in the middle of a response
		raw("POST " + base + "invocation/" + id + "/response HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc")
	case "garbage":
		raw("\x00\x01\x02\r\n\r\n")
		respond("garbage was sent")
	case "many": // connections that say nothing
		for range 100 {
			net.Dial("tcp", api)
		}
		respond("many")
	case "stream":
		stream(id, rest)
	case "remember":
		remembered = append(remembered, rest)
		respond(fmt.Sprint(remembered))
	case "late": // work after the answer
		respond("late")
		spin()
	default:
		respond(event)
	}
}

// raw sends text and ends the connection.
func raw(text string) {
	c, err := net.Dial("tcp", api)
	if err != nil {
		panic(err)
	}
	defer c.Close()
	io.WriteString(c, text)
}

// stream sends a response in pieces, and an error in its trailer if there is one.
func stream(id, fail string) {
	c, err := net.Dial("tcp", api)
	if err != nil {
		panic(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "POST %sinvocation/%s/response HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"+
		"Lambda-Runtime-Function-Response-Mode: streaming\r\nTrailer: Lambda-Runtime-Function-Error-Type\r\n\r\n", base, id)
	for _, piece := range []string{"one ", "two ", "three"} {
		fmt.Fprintf(c, "%x\r\n%s\r\n", len(piece), piece)
	}
	io.WriteString(c, "0\r\n")
	if fail != "" {
		fmt.Fprintf(c, "Lambda-Runtime-Function-Error-Type: %s\r\n", fail)
	}
	io.WriteString(c, "\r\n")
	bufio.NewReader(c).ReadString('\n')
}

func spin() {
	for i := 0; ; i++ {
	}
}
