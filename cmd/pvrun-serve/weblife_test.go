package main

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// Programs that have state are told when they go, and those of streams that last, too.
func TestWebTerm(t *testing.T) {
	web, socket := hostileWeb(t), image(t, "images/fn-http")
	s := start(t, "-f", configFile(t, `
drain: 4s
functions:
  f: {image: %s, isolation: instance, concurrency: 4, idle: 1s}
  ws: {image: %s, isolation: instance, concurrency: 4}
`, web, socket))
	s.ready("f", "ws")
	s.get("/f/remember/x")
	s.await("an idle clone is told", func() bool {
		return strings.Contains(s.text(), `"msg":"got SIGTERM"`) && strings.Contains(s.text(), `"msg":"ends"`)
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, _, err := websocket.Dial(ctx, s.url+"/ws/socket", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if err := c.Write(ctx, websocket.MessageText, []byte("x")); err != nil {
		t.Fatal(err)
	}
	c.Read(ctx)
	go s.cmd.Process.Signal(sigterm)
	_, _, err = c.Read(ctx)
	if got := websocket.CloseStatus(err); got != websocket.StatusGoingAway {
		t.Errorf("got %v, %v", got, err)
	}
	s.end(sigterm)
	if !strings.Contains(s.text(), `"msg":"ending"`) {
		t.Error("the program with a socket was not told")
	}
}

// A request goes on while its function is booted anew, and the next one finds another
// machine.
func TestWebReload(t *testing.T) {
	s := both(t, hostileWeb(t))
	if status, text := s.get("/kept/remember/a"); status != 200 || text != "[a]" {
		t.Errorf("got %d, %s", status, text)
	}
	if status, text := s.call(t.Context(), "POST", "/kept/sum", &slowBody{serve: s}); status != 200 || !strings.HasPrefix(text, "3 ") {
		t.Errorf("got %d, %s", status, text)
	}
	if status, text := s.get("/kept/remember/b"); status != 200 || text != "[b]" {
		t.Errorf("got %d, %s", status, text)
	}
	s.await("the old program was told", func() bool { return strings.Contains(s.text(), `"msg":"got SIGTERM"`) })
	s.end(sigterm)
}

// slowBody ends when the function has been booted anew.
type slowBody struct {
	serve *serve
	sent  bool
}

func (b *slowBody) Read(p []byte) (int, error) {
	if !b.sent {
		b.sent = true
		return copy(p, "abc"), nil
	}
	s := b.serve
	s.cmd.Process.Signal(sighup)
	s.await("it is booted anew", func() bool { return strings.Count(s.text(), `"msg":"ready","function":"kept"`) == 2 })
	return 0, io.EOF
}
