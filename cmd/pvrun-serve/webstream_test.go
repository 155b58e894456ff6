package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/pvrun/pvrun/cmd/pvrun-serve/pool"
)

// Bodies of any length go through, and are in nobody's memory whole.
func TestWebStreams(t *testing.T) {
	s := both(t, hostileWeb(t))
	mib := 64
	if testing.Short() || raceDetector {
		mib = 8
	}
	for _, name := range []string{"/rewound", "/kept"} {
		sent := sha256.New()
		body := io.TeeReader(io.LimitReader(rand.NewChaCha8([32]byte{1}), int64(mib)<<20), sent)
		status, got := s.call(t.Context(), "PUT", name+"/sum", body)
		if want := fmt.Sprintf("%d %x <nil>", mib<<20, sent.Sum(nil)); status != 200 || got != want {
			t.Errorf("%s: got %d, %.200s, want %s", name, status, got, want)
		}
		a, err := http.Get(s.url + fmt.Sprintf("%s/zeros/%d", name, mib))
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, a.Body)
		a.Body.Close()
		if n != int64(mib)<<20 || err != nil {
			t.Errorf("%s: got %d bytes, %v", name, n, err)
		}
	}
	s.end(sigterm)
}

// Each event comes when it is sent, and a socket's messages come back.
func TestWebEvents(t *testing.T) {
	s := both(t, image(t, "images/fn-http"))
	for _, name := range []string{"/rewound", "/kept"} {
		s.events(name)
		s.socket(name)
	}
	s.end(sigterm)
}

// events wants an event while others are to come: the next one is asked for in no other
// way than by reading, and comes an hour later.
func (s *serve) events(name string) {
	ctx, cancel := context.WithCancel(s.t.Context())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", s.url+name+"/events?n=2&every=1h", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer a.Body.Close()
	line, err := bufio.NewReader(a.Body).ReadString('\n')
	if line != "data: 0\n" || err != nil || a.Header.Get("Content-Type") != "text/event-stream" {
		s.t.Errorf("%s: got %q, %v, %v", name, line, err, a.Header)
	}
}

func (s *serve) socket(name string) {
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	c, _, err := websocket.Dial(ctx, s.url+name+"/socket", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.CloseNow()
	for i := range 20 {
		text := bytes.Repeat([]byte{byte(i)}, i*1000)
		if err := c.Write(ctx, websocket.MessageBinary, text); err != nil {
			s.t.Fatal(err)
		}
		if _, got, err := c.Read(ctx); err != nil || !bytes.Equal(got, text) {
			s.t.Fatalf("%s: got %d bytes, %v", name, len(got), err)
		}
	}
	c.Close(websocket.StatusNormalClosure, "")
}

// One clone has eight requests at once, and its program sees when clients leave.
func TestWebConcurrency(t *testing.T) {
	s := both(t, hostileWeb(t))
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			if status, text := s.get("/kept/meet/8"); status != 200 || text != "met" {
				t.Errorf("got %d, %s", status, text)
			}
		})
	}
	clients.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	for range 8 {
		clients.Go(func() { s.call(ctx, "GET", "/kept/never", nil) })
	}
	s.await("eight are under way", func() bool { return s.status("kept").Requests == 8 })
	if f := s.status("kept"); f.Running != 1 || f.Many != 8 || f.Contract != "http" {
		t.Errorf("got %+v", f)
	}
	cancel()
	clients.Wait()
	s.await("the program has seen them leave", func() bool { _, text := s.get("/kept/left"); return text == "8" })
	if f := s.status("kept"); f.Outcomes[pool.Cancelled] != 8 {
		t.Errorf("got %+v", f.Outcomes)
	}
	s.end(sigterm)
}

// A client that leaves in the middle of a body ends its request.
func TestWebClientLeaves(t *testing.T) {
	s := both(t, hostileWeb(t))
	for _, name := range []string{"rewound", "kept"} {
		a, err := http.Get(s.url + "/" + name + "/zeros/1000")
		if err != nil {
			t.Fatal(err)
		}
		io.CopyN(io.Discard, a.Body, 1<<20)
		a.Body.Close()
		gone := func(n uint64) func() bool {
			return func() bool { return s.status(name).Outcomes[pool.Cancelled] == n }
		}
		s.await("it is over", gone(1))
		r, w := io.Pipe()
		go func() {
			w.Write(make([]byte, 1<<20))
			w.CloseWithError(io.ErrUnexpectedEOF)
		}()
		s.call(t.Context(), "POST", "/"+name+"/sum", r)
		s.await("it is over", gone(2))
		if status, text := s.get("/" + name + "/remember/x"); status != 200 || text != "[x]" {
			t.Errorf("%s: got %d, %s", name, status, text)
		}
	}
	s.end(sigterm)
}
