package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/jpeg"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/internal/need"
)

// function is a machine whose program gets messages.
type function struct {
	*hv.VM
	stdout, stderr bytes.Buffer
}

func newFunction(t *testing.T, p *program, args ...string) *function {
	t.Helper()
	need.KVM(t)
	need.Count(1)
	image, f := built(t, p.image), new(function)
	var err error
	f.VM, err = hv.New(hv.Config{Image: image, Memory: 128 << 20, Messages: true, Args: append([]string{p.name}, args...), Stdout: &f.stdout, Stderr: &f.stderr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// limit is when a machine that does not answer is given up.
const limit = 2 * time.Minute

// ask sends a message and wants a response of that kind.
func (f *function) ask(t *testing.T, message string, failed bool) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	got, err := f.Invoke(ctx, []byte(message))
	if err != nil {
		t.Fatalf("%.40q: %v\n%s%s", message, err, &f.stdout, &f.stderr)
	}
	if got.Failed != failed {
		t.Errorf("%.40q: failed is %v, with %.200q", message, got.Failed, got.Data)
	}
	return string(got.Data)
}

func TestFunctionHello(t *testing.T) {
	t.Parallel()
	f := newFunction(t, define(imagesDir, "fn-hello", ""))
	for _, name := range []string{"world", "Ada", strings.Repeat("long", 100_000)} {
		same(t, "response", f.ask(t, `{"name": "`+name+`"}`, false), "hello "+name+"\n")
	}
	same(t, "error", f.ask(t, `{}`, true), "no name")
	same(t, "error", f.ask(t, `{`, true), "unexpected end of JSON input")
	same(t, "response", f.ask(t, `{"name": "again"}`, false), "hello again\n")
}

func TestFunctionMarkdown(t *testing.T) {
	t.Parallel()
	f := newFunction(t, define(imagesDir, "fn-markdown", ""))
	text, err := os.ReadFile(imagesDir + "/markdown/rootfs/commonmark.md")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(imagesDir + "/markdown/want.txt")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		same(t, "response", f.ask(t, string(text), false), string(want))
	}
}

func TestFunctionImage(t *testing.T) {
	t.Parallel()
	f := newFunction(t, define(imagesDir, "fn-image", ""))
	picture, err := os.ReadFile(imagesDir + "/fn-image/testdata/rings.jpg")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		small, err := jpeg.DecodeConfig(strings.NewReader(f.ask(t, string(picture), false)))
		if err != nil || small.Width != 128 || small.Height != 96 {
			t.Errorf("got %d×%d, %v", small.Width, small.Height, err)
		}
	}
	same(t, "error", f.ask(t, "no picture", true), "invalid JPEG format: missing SOI marker")
}

func TestFunctionSQL(t *testing.T) {
	t.Parallel()
	f := newFunction(t, define(imagesDir, "fn-sql", ""))
	want := `["symbol","name"]` + "\n" + `["Fe","Iron"]` + "\n"
	for range 3 {
		same(t, "response", f.ask(t, "SELECT symbol, name FROM elements WHERE number = 26", false), want)
		same(t, "count", f.ask(t, "SELECT count(*) FROM elements", false), "[\"count(*)\"]\n[118]\n")
		if got := f.ask(t, "DELETE FROM elements", true); !strings.Contains(got, "readonly") {
			t.Errorf("got %q", got)
		}
	}
}

var exchanges = define(programsDir, "exchange", "")

// What a machine's /dev/function does for a program that knows nothing of package
// function.
func TestExchanges(t *testing.T) {
	t.Parallel()
	f := newFunction(t, exchanges)
	for _, how := range []string{"file", "nonblock", "poll", "pieces", "vector", "stack", "large", "dup", "unread", "deadline", "identity", "fail", "limit", "file"} {
		message := "x"
		if how == "large" {
			message = strings.Repeat("0123456789abcde\n", hypercall.MaxMessage/16-1)
		}
		same(t, how, f.ask(t, message, how == "fail"), how+": "+message)
	}
	_, err := f.Invoke(context.Background(), nil)
	if ended := (*hv.EndedError)(nil); !errors.As(err, &ended) || ended.Exit.Code != 0 {
		t.Errorf("at the end: %v, %s", err, &f.stderr)
	}
}

// The program's end is no response.
func TestFunctionEnds(t *testing.T) {
	t.Parallel()
	for how, code := range map[string]int{"exit": 3, "panic": 2} {
		f := newFunction(t, exchanges, how)
		_, err := f.Invoke(context.Background(), []byte("x"))
		if ended := (*hv.EndedError)(nil); !errors.As(err, &ended) || ended.Exit.Code != code {
			t.Errorf("%s: got %v, %s", how, err, &f.stderr)
		}
	}
}

// Without messages the file is there to be asked.
func TestFunctionWithoutMessages(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, mode string) {
		want := fmt.Sprintf("%d %d %d 0 0\n", syscall.ENODEV, syscall.EINVAL, syscall.EBADF)
		wants(t, run(t, exchanges, in(mode), "inquire"), 0, want, "")
	})
}
