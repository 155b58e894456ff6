package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pvrun/pvrun/cmd/pvrun-serve/boot"
	"github.com/pvrun/pvrun/cmd/pvrun-serve/pool"
)

// read reads a file with that text, and a command line.
func read(t *testing.T, text string, l Line) (Config, error) {
	t.Helper()
	if text != "" {
		l.File = filepath.Join(t.TempDir(), "serve.yaml")
		if err := os.WriteFile(l.File, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return l.Read()
}

func TestRead(t *testing.T) {
	second, size := time.Second, Size(32<<20)
	c, err := read(t, `
listen: :80
drain: 5s
running: 3
defaults:
  timeout: 10s
  memory: 1g
  env: {A: a, B: b}
functions:
  hello:
    image: hello.img
    host: Hello.example.com
    env: {B: c}
    args: [x, "y z"]
    isolation: instance
    min: 1
    max: 2
    queue: 0
    idle: 1h
    ready-timeout: 2m
    timeout: 7s
    contract: http
    port: 3000
    concurrency: 8
    network: web
  other: {image: ./other, path: /v1/other, fresh: true}
`, Line{Functions: []string{"third=third.snap"}, Options: Options{Timeout: &second, Memory: &size}})
	want := Config{Listen: ":80", Drain: 5 * time.Second, Running: 3, Functions: []Function{
		{
			"hello", "/hello", "hello.example.com",
			boot.Program{
				Name: "hello", From: "hello.img", Args: []string{"x", "y z"}, Env: []string{"A=a", "B=c"}, Memory: 32 << 20, Within: 2 * time.Minute,
				Contracts: []pool.Contract{pool.HTTP}, Port: 3000, Many: true, Network: "web",
			},
			pool.Limits{Reuse: true, Timeout: 7 * time.Second, Min: 1, Max: 2, Idle: time.Hour, Concurrency: 8, Grace: 5 * time.Second},
		},
		{
			"other", "/v1/other", "",
			boot.Program{Name: "other", From: "./other", Env: []string{"A=a", "B=b"}, Memory: 32 << 20, Within: 30 * time.Second, Port: 8080},
			pool.Limits{Fresh: true, Timeout: time.Second, Max: 4, Queue: 128, Idle: time.Minute, Concurrency: 1, Grace: 5 * time.Second},
		},
		{
			"third", "/third", "",
			boot.Program{Name: "third", From: "third.snap", Env: []string{"A=a", "B=b"}, Memory: 32 << 20, Within: 30 * time.Second, Port: 8080},
			pool.Limits{Timeout: time.Second, Max: 4, Queue: 128, Idle: time.Minute, Concurrency: 1, Grace: 5 * time.Second},
		},
	}}
	if err != nil || !reflect.DeepEqual(c, want) {
		t.Errorf("got\n%+v, %v, want\n%+v", c, err, want)
	}
}

func TestBadFiles(t *testing.T) {
	for text, want := range map[string]string{
		"functions: {f: {imag: x}}":                                    "line 1: field imag not found",
		"functions: {f: {image: x, memory: 12}}":                       "must be a number with a unit",
		"functions: {f: {image: x, memory: 1k}}":                       "must be from 1m",
		"functions: {f: {image: x, timeout: soon}}":                    "cannot unmarshal",
		"functions: {f: {image: x, timeout: -1s}}":                     "function f: timeout and idle must not be negative",
		"functions: {f: {image: x, isolation: none}}":                  `isolation "none": must be invocation or instance`,
		"functions: {f: {image: x, isolation: instance, fresh: true}}": "a new clone is no reused one",
		"functions: {f: {image: x, max: 0}}":                           "max 0: must be from 1 to 32768",
		"functions: {f: {image: x, workers: some}}":                    `workers "some": must be auto, always or never`,
		"functions: {f: {image: x, workers: never, max: 5000}}":        "max 5000: more than 4096 need workers",
		"functions: {f: {image: x, max: 5000}}":                        "more than 4096 need workers, and contract message",
		"functions: {f: {image: x, min: 3, max: 2}}":                   "min 3: must be from 0 to max, 2",
		"functions: {f: {image: x, queue: -1}}":                        "queue -1",
		"functions: {f: {image: x, ready-timeout: -1s}}":               "ready-timeout -1s",
		"functions: {f: {image: x, env: {'': x}}}":                     `env "=x"`,
		"functions: {f: {}}":                                           "function f: it has no image",
		"functions: {F: {image: x}}":                                   "function F: a name has letters",
		"functions: {1f: {image: x}}":                                  "function 1f: a name has letters",
		"functions: {metrics: {image: x}}":                             "path /metrics is pvrun's own",
		"functions: {f: {image: x, path: f}}":                          "must begin with /",
		"functions: {f: {image: x, path: /v1/f/}}":                     `path "/v1/f/": must be written as "/v1/f"`,
		"functions: {f: {image: x, path: //f}}":                        `path "//f": must be written as "/f"`,
		"functions: {f: {image: x, path: /v1/../f}}":                   `path "/v1/../f": must be written as "/f"`,
		"functions: {f: {image: x, path: /}}":                          "path / is pvrun's own",
		"functions: {f: {image: x, path: /status.json}}":               "is pvrun's own",
		"functions: {f: {image: x, host: 'a:80'}}":                     "must be a name",
		"functions: {f: {image: x}, g: {image: x, path: /f}}":          "function g: /f is f's already",
		"functions: {f: {image: x, host: a}, g: {image: x, host: A}}":  "function g: a is f's already",
		"functions: {f: {image: x, contract: grpc}}":                   `contract "grpc": must be auto, message, http or lambda`,
		"functions: {f: {image: x, network: 'tap:a'}}":                 `network "tap:a": must be none, user or a name`,
		"functions: {f: {image: x, port: 70000}}":                      "port 70000: must be from 1 to 65535",
		"functions: {f: {image: x, concurrency: 2}}":                   "concurrency 2: needs isolation instance",
		"functions: {f: {image: x, concurrency: 0}}":                   "concurrency 0: must be from 1 to 32",
		"running: -1\nfunctions: {f: {image: x}}":                      "running -1: must be from 1",
		"drain: -1s\nfunctions: {f: {image: x}}":                       "drain -1s",
		"functions: {}":                                                "there is no function to serve",
		"---\nfunctions: {f: {image: x}}\n---\nx: y\n":                 "more than one document",
		"functions: [": "did not find",
		"\x00":         "control characters",
		"functions: {f: {image: x, memory: 1m}, f: {image: y, env: {}}}":  "already defined",
		"functions: {f: {image: x, nonsense: 1, another: 2, args: word}}": "field nonsense not found",
	} {
		_, err := read(t, text, Line{})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "config.") {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

func TestBadLines(t *testing.T) {
	for _, test := range []struct {
		line Line
		want string
	}{
		{Line{}, "there is no function to serve"},
		{Line{Functions: []string{"hello"}}, `"hello": must be NAME=IMAGE`},
		{Line{Functions: []string{"=x"}}, "must be NAME=IMAGE"},
		{Line{Functions: []string{"a=x", "a=y"}}, "function a: it is there twice"},
		{Line{File: "no/such/file"}, "open no/such/file: no such file or directory"},
	} {
		if _, err := test.line.Read(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: got %v, want %s", test.line, err, test.want)
		}
	}
}

// Few clones live in this process, many in others, unless something else is said.
func TestWorkers(t *testing.T) {
	for option, want := range map[string]bool{
		"max: 200": false, "max: 201": true, "contract: message, max: 20000": true,
		"workers: always": true, "workers: auto": false,
		"max: 4096, workers: never": false, "max: 200, workers: always": true,
	} {
		c, err := read(t, "functions: {f: {image: x, "+option+"}}", Line{})
		if err != nil || c.Functions[0].Program.Workers != want {
			t.Errorf("%s: got %+v, %v", option, c, err)
		}
	}
}

// A snapshot has what others are given.
func TestSnapshot(t *testing.T) {
	snap := filepath.Join(t.TempDir(), "snap")
	if err := os.WriteFile(snap, []byte("pvrunsnp..."), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := read(t, "defaults: {memory: 1g}\nfunctions: {f: {image: "+snap+"}}", Line{}); err != nil {
		t.Error(err)
	}
	for _, option := range []string{"memory: 1g", "args: [x]", "env: {A: b}", "port: 80"} {
		_, err := read(t, "functions: {f: {image: "+snap+", "+option+"}}", Line{})
		if err == nil || !strings.Contains(err.Error(), "is a snapshot, whose program has begun already") {
			t.Errorf("%s: got %v", option, err)
		}
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]Size{"64m": 64 << 20, "64M": 64 << 20, "64MiB": 64 << 20, "1g": 1 << 30, "2048k": 2 << 20, "1t": 1 << 40, "": 0, "m": 0, "64": 0, "2t": 0, "1025b": 0, "9999999999999g": 0, "-1m": 0} {
		var got Size
		if err := got.Set(text); got != want || (err == nil) != (want != 0) {
			t.Errorf("%q: got %d, %v, want %d", text, got, err, want)
		}
	}
}
