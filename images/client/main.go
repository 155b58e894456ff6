// Command client fetches URLs, with time-outs and retries, and says what it got.
package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"time"
)

// fetcher is how to fetch.
type fetcher struct {
	client  *http.Client
	timeout time.Duration // of one try
	retries int
	body    bool // it is shown, not only summed up
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("client: ")
	timeout := flag.Duration("timeout", 10*time.Second, "`time` for each try")
	retries := flag.Int("retries", 3, "how often a request that fails, or is answered with 5xx, is made again")
	insecure := flag.Bool("k", false, "believe any certificate")
	body := flag.Bool("body", false, "show the bodies")
	count := flag.Int("n", 1, "how often each URL is fetched")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: client [flags] URL...")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: *insecure}
	transport.ForceAttemptHTTP2 = true
	f := fetcher{&http.Client{Transport: transport}, *timeout, *retries, *body}
	failed := false
	for range *count {
		for _, url := range flag.Args() {
			if err := f.fetch(url); err != nil {
				log.Print(err)
				failed = true
			}
		}
	}
	if failed {
		os.Exit(1)
	}
}

// fetch fetches a URL, trying again after growing pauses.
func (f *fetcher) fetch(url string) error {
	pause := 100 * time.Millisecond
	for try := 0; ; try++ {
		again, err := f.try(url)
		if err == nil || !again || try == f.retries {
			return err
		}
		log.Printf("%v; again in %v", err, pause)
		time.Sleep(pause)
		pause *= 2
	}
}

// try makes one request, and says whether another one may do better.
func (f *fetcher) try(url string) (again bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), f.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false, err
	}
	resp, err := f.client.Do(req)
	if err != nil {
		return true, err
	}
	defer resp.Body.Close()
	h := sha256.New()
	var to io.Writer = h
	if f.body {
		to = io.MultiWriter(h, os.Stdout)
	}
	n, err := io.Copy(to, resp.Body)
	switch {
	case err != nil:
		return true, fmt.Errorf("%s: after %d bytes: %w", url, n, err)
	case resp.StatusCode >= 500:
		return true, fmt.Errorf("%s: %s", url, resp.Status)
	case resp.StatusCode >= 400:
		return false, fmt.Errorf("%s: %s", url, resp.Status)
	}
	fmt.Printf("%s %s %s %d %x\n", url, resp.Proto, resp.Status, n, h.Sum(nil)[:8])
	return false, nil
}
