// Command proxy is a reverse proxy before several servers, in turn.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

// backends are the servers. Requests go to one after the other.
type backends struct {
	urls []*url.URL
	next atomic.Uint64
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("proxy: ")
	addr := flag.String("addr", ":8080", "`address` to listen on")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: proxy [flags] URL...")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(*addr, flag.Args()); err != nil {
		log.Fatal(err)
	}
}

func run(addr string, args []string) error {
	b := new(backends)
	for _, arg := range args {
		u, err := url.Parse(arg)
		if err == nil && (u.Scheme == "" || u.Host == "") {
			err = errors.New("is no URL of a server")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", arg, err)
		}
		b.urls = append(b.urls, u)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	log.Printf("listening on %s", l.Addr())
	server := &http.Server{Handler: b.proxy(), ReadHeaderTimeout: 10 * time.Second}
	go func() {
		<-ctx.Done()
		drain, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		server.Shutdown(drain)
	}()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (b *backends) proxy() http.Handler {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 64
	return &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(b.urls[b.next.Add(1)%uint64(len(b.urls))])
			r.SetXForwarded()
		},
		FlushInterval: -1, // events are not held back
	}
}
