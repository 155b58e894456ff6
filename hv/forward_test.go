package hv

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/internal/need"
)

// TestForward has an unmodified web server answer messages: each is a request, and there
// is no network.
func TestForward(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a program")
	}
	need.KVM(t)
	need.Count(1)
	img := guestImage(t, "..", "test/function/web")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // emulated processors are slow
	defer cancel()
	s, err := Boot(ctx, Config{
		Image: img, Args: []string{"web"}, Env: []string{"PORT=8080"}, Stderr: os.Stderr,
		Messages: true, Ready: hypercall.ReadyListen, ReadyPort: 8080,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	vm := clone(t, s)
	exchange := func(path string, body []byte) (*http.Response, string) {
		t.Helper()
		q, err := http.NewRequest("POST", "http://web"+path, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		q.Close = true
		var b bytes.Buffer
		if err := q.Write(&b); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		r, err := vm.Invoke(ctx, b.Bytes())
		t.Log(path, time.Since(began))
		if err != nil || r.Failed {
			t.Fatalf("%s: %v, %.200q", path, err, r.Data)
		}
		p, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(r.Data)), q)
		if err != nil {
			t.Fatalf("%s: %v in %.200q", path, err, r.Data)
		}
		text, err := io.ReadAll(p.Body)
		if err != nil {
			t.Fatal(err)
		}
		return p, string(text)
	}
	big := bytes.Repeat([]byte("0123456789abcdef"), 5<<16)
	for i := range 20 {
		for visit := 1; visit <= 2; visit++ {
			if _, got := exchange("/count", nil); got != fmt.Sprint(visit) {
				t.Errorf("life %d, visit %d: %s", i, visit, got)
			}
		}
		if _, got := exchange("/echo", big); got != string(big) {
			t.Errorf("%d bytes came back of %d", len(got), len(big))
		}
		if p, got := exchange("/missing", nil); p.StatusCode != 404 || !strings.Contains(got, "not found") {
			t.Errorf("%s: %q", p.Status, got)
		}
		if err := vm.Rewind(); err != nil {
			t.Fatal(err)
		}
	}
	if r, err := vm.Invoke(ctx, []byte("what is this?\r\n\r\n")); err != nil || !strings.HasPrefix(string(r.Data), "HTTP/1.1 400 ") {
		t.Errorf("%v, %q", err, r.Data)
	}
}
