//go:build !pvrun || !linux

package function

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// start serves f, and returns the address and what makes it end.
func start(t *testing.T, f Handler) (url string, end func() error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, l, f) }()
	end = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() {
		if err := end(); err != nil {
			t.Error(err)
		}
	})
	return "http://" + l.Addr().String() + "/", end
}

// post sends a message and returns status and answer.
func post(t *testing.T, url string, message []byte) (int, string) {
	t.Helper()
	r, err := http.Post(url, "text/plain", bytes.NewReader(message))
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Error(err)
	}
	return r.StatusCode, string(body)
}

func TestHandle(t *testing.T) {
	url, _ := start(t, func(_ context.Context, message []byte) ([]byte, error) {
		switch string(message) {
		case "fail":
			return []byte("ignored"), errors.New("no good")
		case "long":
			return make([]byte, MaxMessage+1), nil
		}
		return bytes.ToUpper(message), nil
	})
	for _, test := range []struct {
		path, message string
		status        int
		want          string
	}{
		{"", "hello", 200, "HELLO"},
		{"", "", 200, ""},
		{"", "fail", 500, "no good\n"},
		{"", "long", 500, "a response of 6291457 bytes; 6291456 are the most\n"},
		{"other", "hello", 404, "404 page not found\n"},
	} {
		if status, got := post(t, url+test.path, []byte(test.message)); status != test.status || got != test.want {
			t.Errorf("%s%q: got %d %q", test.path, test.message, status, got)
		}
	}
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != 405 {
		t.Errorf("GET: got %d", r.StatusCode)
	}
}

func TestMessageLimit(t *testing.T) {
	url, _ := start(t, func(_ context.Context, message []byte) ([]byte, error) { return message, nil })
	large := bytes.Repeat([]byte("x"), MaxMessage)
	if status, got := post(t, url, large); status != 200 || got != string(large) {
		t.Errorf("got %d and %d bytes", status, len(got))
	}
	if status, _ := post(t, url, append(large, 'y')); status != 413 {
		t.Errorf("one more: got %d", status)
	}
}

// A client that leaves ends the message's context.
func TestContext(t *testing.T) {
	came, left := make(chan bool), make(chan error)
	url, _ := start(t, func(ctx context.Context, _ []byte) ([]byte, error) {
		came <- true
		<-ctx.Done()
		left <- ctx.Err()
		return nil, nil
	})
	ctx, cancel := context.WithCancel(context.Background())
	r, err := http.NewRequestWithContext(ctx, "POST", url, strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		<-came
		cancel()
	}()
	if r, err := http.DefaultClient.Do(r); err == nil {
		r.Body.Close()
		t.Error("got an answer")
	}
	if err := <-left; err != context.Canceled {
		t.Errorf("got %v", err)
	}
}

// What is under way is answered before serve returns.
func TestGracefulEnd(t *testing.T) {
	came, goOn := make(chan bool), make(chan bool)
	url, end := start(t, func(context.Context, []byte) ([]byte, error) {
		came <- true
		<-goOn
		return []byte("late"), nil
	})
	got := make(chan string)
	go func() {
		_, text := post(t, url, nil)
		got <- text
	}()
	<-came
	ended := make(chan error)
	go func() { ended <- end() }()
	select {
	case <-ended:
		t.Fatal("ended with a message under way")
	default:
	}
	close(goOn)
	if text := <-got; text != "late" {
		t.Errorf("got %q", text)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// program is this test as a program that answers messages.
func program(t *testing.T, port string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "FUNCTION_TEST=1", "PORT="+port)
	stderr := new(bytes.Buffer)
	cmd.Stderr = stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	return cmd, stderr
}

func TestMain(m *testing.M) {
	if os.Getenv("FUNCTION_TEST") == "" {
		os.Exit(m.Run())
	}
	err := Handle(func(_ context.Context, message []byte) ([]byte, error) {
		if string(message) == "panic" {
			panic("at once")
		}
		return message, nil
	})
	if err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		os.Exit(1)
	}
}

// freePort is one that nobody else has just now.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// await waits until the program answers.
func await(t *testing.T, url string) {
	for {
		r, err := http.Post(url, "", strings.NewReader("x"))
		if err == nil {
			r.Body.Close()
			return
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatal(err)
		}
	}
}

// A panic ends the program, with its trace.
func TestPanic(t *testing.T) {
	port := freePort(t)
	cmd, stderr := program(t, port)
	url := "http://127.0.0.1:" + port + "/"
	await(t, url)
	if r, err := http.Post(url, "", strings.NewReader("panic")); err == nil {
		r.Body.Close()
		t.Errorf("got an answer, status %d", r.StatusCode)
	}
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 2 || !strings.HasPrefix(stderr.String(), "panic: at once\n") {
		t.Errorf("exit code %d, %s", code, stderr)
	}
}

func TestSignals(t *testing.T) {
	for _, sig := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		port := freePort(t)
		cmd, stderr := program(t, port)
		await(t, "http://127.0.0.1:"+port+"/")
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %v, %s", sig, err, stderr)
		}
	}
}

func TestIdentity(t *testing.T) {
	id := InstanceID()
	if len(id) != 32 || strings.Trim(id, "0123456789abcdef") != "" || id != InstanceID() {
		t.Errorf("got %q, then %q", id, InstanceID())
	}
	OnResume(func() { t.Error("resumed") })
	if Generation() != 0 || Ready() != nil {
		t.Errorf("got %d, %v", Generation(), Ready())
	}
}
