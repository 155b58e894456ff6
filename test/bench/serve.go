package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pvrun/pvrun/internal/load"
)

// serveSide is a way to have one program answer HTTP requests, one at a time on one
// connection.
type serveSide struct {
	name     string
	function string // its path in pvrun serve; "" is the program natively
	method   string
	path     string // the program's
	body     string
}

// serveSides are told beside one another: fn-http on the host and behind pvrun serve, a
// message to function.Handle and an event to a program for AWS Lambda.
var serveSides = []serveSide{
	{name: "native", method: "GET", path: "/hello/you"},
	{name: "http-instance", function: "/kept", method: "GET", path: "/hello/you"},
	{name: "http-rewound", function: "/rewound", method: "GET", path: "/hello/you"},
	{name: "message-rewound", function: "/message", method: "POST", body: greetMessage},
	{name: "lambda-instance", function: "/lambda-kept", method: "POST", body: greetMessage},
	{name: "lambda-rewound", function: "/lambda", method: "POST", body: greetMessage},
}

// serveRequests is how many requests a run has.
const serveRequests = 1000

// server is a process that answers at an address.
type server struct {
	cmd *exec.Cmd
	url string
}

func (s *suite) runServe(pattern *regexp.Regexp) error {
	sides := slices.DeleteFunc(slices.Clone(serveSides), func(v serveSide) bool {
		return !pattern.MatchString("FunctionServe/" + v.name)
	})
	if len(sides) == 0 {
		return nil
	}
	if err := s.buildServe(); err != nil {
		return err
	}
	native, err := s.startServer("PORT", s.path("fn-http"))
	if err != nil {
		return err
	}
	defer native.stop()
	gateway, err := s.startGateway()
	if err != nil {
		return err
	}
	defer gateway.stop()
	results := make([][]invoked, len(sides))
	for i := -1; i < s.runs; i++ { // the first of each warms the caches
		for k, side := range sides {
			from := gateway
			if side.function == "" {
				from = native
			}
			got, err := side.run(from)
			if err != nil {
				return fmt.Errorf("FunctionServe/%s: %w", side.name, err)
			}
			if i >= 0 {
				results[k] = append(results[k], got)
			}
		}
	}
	for k, side := range sides {
		reportInvoked("FunctionServe", side.name, results[k], results[0], sides[0].name)
	}
	return nil
}

func (s *suite) buildServe() error {
	for _, args := range [][]string{
		{"go", "build", "-C", "cmd/pvrun-serve", "-trimpath", "-o", s.path("pvrun-serve"), "."},
		{"go", "build", "-C", "images", "-trimpath", "-o", s.path("fn-http"), "./fn-http"},
		{s.path("pvrun"), "build", "-o", s.path("fn-http.img"), "./images/fn-http"},
		{s.path("pvrun"), "build", "-o", s.path("fn-lambda.img"), "./images/fn-lambda"},
		{s.path("pvrun"), "build", "-o", s.path("greets.img"), "./test/function/programs/greets"},
	} {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%v: %w\n%s", args, err, out)
		}
	}
	return nil
}

func (s *suite) startGateway() (*server, error) {
	config := strings.NewReplacer("HTTP", s.path("fn-http.img"), "LAMBDA", s.path("fn-lambda.img"), "GREETS", s.path("greets.img")).Replace(`
functions:
  kept: {image: HTTP, isolation: instance}
  rewound: {image: HTTP}
  message: {image: GREETS}
  lambda-kept: {image: LAMBDA, isolation: instance}
  lambda: {image: LAMBDA}
`)
	file := s.path("serve.yaml")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		return nil, err
	}
	g, err := s.startServer("", s.path("pvrun-serve"), "-f", file, "--log-level", "error")
	if err != nil {
		return nil, err
	}
	for _, side := range serveSides {
		if side.function == "" {
			continue
		}
		if err := await(func() error { _, err := side.ask(http.DefaultClient, g.url); return err }); err != nil {
			g.stop()
			return nil, fmt.Errorf("%s: %w", side.name, err)
		}
	}
	return g, nil
}

// startServer starts a program that answers at a port that is free: told by a variable,
// or by the flag --listen.
func (s *suite) startServer(variable, program string, args ...string) (*server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := l.Addr().String()
	l.Close()
	_, port, _ := net.SplitHostPort(address)
	v := &server{url: "http://" + address}
	if variable == "" {
		args = append(args, "--listen", address)
	}
	v.cmd = exec.Command(program, args...)
	if variable != "" {
		v.cmd.Env = append(os.Environ(), variable+"="+port)
	}
	v.cmd.Stderr = os.Stderr
	if err := v.cmd.Start(); err != nil {
		return nil, err
	}
	err = await(func() error {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err
	})
	if err != nil {
		v.stop()
		return nil, err
	}
	return v, nil
}

func await(f func() error) (err error) {
	for range 500 {
		if err = f(); err == nil {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return err
}

func (v *server) stop() {
	_ = v.cmd.Process.Signal(syscall.SIGTERM)
	_ = v.cmd.Wait()
}

// ask sends one request.
func (v serveSide) ask(client *http.Client, url string) (time.Duration, error) {
	begun := time.Now()
	r, err := http.NewRequest(v.method, url+v.function+v.path, strings.NewReader(v.body))
	if err != nil {
		return 0, err
	}
	a, err := client.Do(r)
	if err != nil {
		return 0, err
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	if err == nil && (a.StatusCode != 200 || !strings.Contains(string(text), "hello you")) {
		err = fmt.Errorf("%s: %s", a.Status, text)
	}
	return time.Since(begun), err
}

func (v serveSide) run(from *server) (got invoked, err error) {
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	var res load.Result
	cpu := cpuOf(from.cmd.Process.Pid)
	all := time.Now()
	for range serveRequests {
		took, err := v.ask(client, from.url)
		if err != nil {
			return got, err
		}
		res.Latencies = append(res.Latencies, took)
	}
	res.Elapsed = time.Since(all)
	got.Report = res.Report()
	got.cpu = (cpuOf(from.cmd.Process.Pid) - cpu) / serveRequests
	return got, nil
}

// cpuOf is the CPU time of a process, in ns: fields utime and stime of proc_pid_stat(5),
// in ticks of 10 ms.
func cpuOf(pid int) float64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(b), ") ")
	var user, system float64
	f := strings.Fields(rest)
	if len(f) > 12 {
		fmt.Sscan(f[11], &user)
		fmt.Sscan(f[12], &system)
	}
	return (user + system) * 1e7
}
