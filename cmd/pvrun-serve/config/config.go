// Package config is what pvrun serve is told: a file of YAML, and a command line that
// adds functions and says what holds where the file is silent.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/pvrun/pvrun/cmd/pvrun-serve/boot"
	"github.com/pvrun/pvrun/cmd/pvrun-serve/gateway"
	"github.com/pvrun/pvrun/cmd/pvrun-serve/pool"
	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/hypercall"
)

// Config is all that is to be served.
type Config struct {
	Listen    string // an address
	Drain     time.Duration
	Running   int // vCPUs that may run at once, beside one for each function
	Functions []Function
}

// Function is one of it.
type Function struct {
	Name    string
	Path    string
	Host    string
	Program boot.Program
	Limits  pool.Limits
}

// Options are a function's as they are written, in the file or by flags. nil is not said.
type Options struct {
	Args         []string          `yaml:"args"`
	Env          map[string]string `yaml:"env"`
	Memory       *Size             `yaml:"memory"`
	Network      *string           `yaml:"network"`
	Isolation    *string           `yaml:"isolation"`
	Workers      *string           `yaml:"workers"`
	Fresh        *bool             `yaml:"fresh"`
	Timeout      *time.Duration    `yaml:"timeout"`
	ReadyTimeout *time.Duration    `yaml:"ready-timeout"`
	Min          *int              `yaml:"min"`
	Max          *int              `yaml:"max"`
	Queue        *int              `yaml:"queue"`
	Idle         *time.Duration    `yaml:"idle"`
	Contract     *string           `yaml:"contract"`
	Port         *int              `yaml:"port"`
	Concurrency  *int              `yaml:"concurrency"`
}

// file is the YAML.
type file struct {
	Listen    string                  `yaml:"listen"`
	Drain     *time.Duration          `yaml:"drain"`
	Running   int                     `yaml:"running"`
	Defaults  Options                 `yaml:"defaults"`
	Functions map[string]functionFile `yaml:"functions"`
}

type functionFile struct {
	Image   string `yaml:"image"`
	Path    string `yaml:"path"`
	Host    string `yaml:"host"`
	Options `yaml:",inline"`
}

// Line is what the command line says.
type Line struct {
	File      string // "" for none
	Listen    string // before the file's; "" for that
	Drain     *time.Duration
	Running   int
	Options   Options  // before the file's defaults
	Functions []string // NAME=IMAGE
}

// Defaults.
const (
	Listen       = "127.0.0.1:8080"
	Drain        = 30 * time.Second
	timeout      = 30 * time.Second
	readyTimeout = 30 * time.Second
	queue        = 128
	idle         = time.Minute
	perCPU       = 2 // vCPUs that may run for each of the host's CPUs
	maxRunning   = 4096
	maxHere      = 4096 // clones of a function in this process
	maxClones    = 32768
	maxQueue     = 1 << 20

	// maxConcurrency is how many requests a clone has at once at the most: each has a
	// stream, and another one may be on its end.
	maxConcurrency = hypercall.MaxStreams / 2
)

// Read puts together what is to be served. The error is one line.
func (l Line) Read() (c Config, err error) {
	var f file
	if l.File != "" {
		if f, err = readFile(l.File); err != nil {
			return c, err
		}
	}
	c = Config{Listen: first(l.Listen, f.Listen, Listen), Drain: value(Drain, f.Drain, l.Drain), Running: f.Running}
	if l.Running != 0 {
		c.Running = l.Running
	}
	if c.Running == 0 {
		c.Running = perCPU * runtime.NumCPU()
	}
	if c.Running < 1 || c.Running > maxRunning {
		return c, fmt.Errorf("running %d: must be from 1 to %d", c.Running, maxRunning)
	}
	if c.Drain < 0 {
		return c, fmt.Errorf("drain %v: must not be negative", c.Drain)
	}
	if err := l.addFunctions(&f); err != nil {
		return c, err
	}
	if len(f.Functions) == 0 {
		return c, errors.New("there is no function to serve: NAME=IMAGE, or a file (--config)")
	}
	for name, entry := range f.Functions {
		fn, err := c.function(name, entry, f.Defaults, l.Options)
		if err != nil {
			return c, fmt.Errorf("function %s: %w", name, err)
		}
		c.Functions = append(c.Functions, fn)
	}
	slices.SortFunc(c.Functions, func(a, b Function) int { return strings.Compare(a.Name, b.Name) })
	return c, c.routes()
}

func readFile(name string) (f file, err error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return f, err
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&f); err != nil && err != io.EOF {
		return f, fmt.Errorf("%s: %s", name, oneLine(err))
	}
	if err := d.Decode(new(any)); err != io.EOF {
		return f, fmt.Errorf("%s: there is more than one document", name)
	}
	return f, nil
}

// oneLine is an error of the decoder's, which has a line for each thing that is wrong.
func oneLine(err error) string {
	text := strings.TrimPrefix(strings.TrimPrefix(err.Error(), "yaml: "), "unmarshal errors:")
	var list []string
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, " in type ") // which is one of Go's
		if line = strings.TrimSpace(line); line != "" {
			list = append(list, line)
		}
	}
	return strings.Join(list, "; ")
}

// addFunctions adds those of the command line.
func (l Line) addFunctions(f *file) error {
	for _, text := range l.Functions {
		name, image, ok := strings.Cut(text, "=")
		if !ok || name == "" || image == "" {
			return fmt.Errorf("%q: must be NAME=IMAGE, NAME=SNAP or NAME=PKG", text)
		}
		if _, twice := f.Functions[name]; twice {
			return fmt.Errorf("function %s: it is there twice", name)
		}
		if f.Functions == nil {
			f.Functions = map[string]functionFile{}
		}
		f.Functions[name] = functionFile{Image: image}
	}
	return nil
}

// validName is what can be a host's first label, too.
var validName = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`)

func (c *Config) function(name string, e functionFile, defaults, line Options) (f Function, err error) {
	switch {
	case !validName.MatchString(name):
		return f, errors.New("a name has letters a to z, digits and dashes, begins with a letter, and has 63 characters at the most")
	case slices.Contains(gateway.Reserved, name) && e.Path == "":
		return f, fmt.Errorf("path /%s is pvrun's own", name)
	case e.Image == "":
		return f, errors.New("it has no image")
	}
	f = Function{Name: name, Path: first(e.Path, "/"+name), Host: strings.ToLower(e.Host)}
	o := []Options{defaults, line, e.Options}
	if f.Program, err = program(name, e.Image, o); err != nil {
		return f, err
	}
	if f.Limits, err = c.limits(o); err != nil {
		return f, err
	}
	f.Program.Many = f.Limits.Concurrency > 1
	if f.Program.Workers, err = workers(o, f.Program.Contracts, f.Limits.Max); err != nil {
		return f, err
	}
	return f, f.check(e.Options)
}

func (f *Function) check(own Options) error {
	switch {
	case (own.Args != nil || own.Env != nil || own.Memory != nil || own.Port != nil) && hv.IsSnapshot(f.Program.From):
		return fmt.Errorf("args, env, memory and port: %s is a snapshot, whose program has begun already", f.Program.From)
	case !strings.HasPrefix(f.Path, "/") || strings.ContainsAny(f.Path, "?# \t\n"):
		return fmt.Errorf("path %q: must begin with / and have no query", f.Path)
	case path.Clean(f.Path) != f.Path: // clients ask for clean paths, and below no path /f/
		return fmt.Errorf("path %q: must be written as %q", f.Path, path.Clean(f.Path))
	case f.Path == "/" || f.Path == "/metrics" || f.Path == "/status.json":
		return fmt.Errorf("path %s is pvrun's own", f.Path)
	case strings.ContainsAny(f.Host, "/: \t\n"):
		return fmt.Errorf("host %q: must be a name", f.Host)
	case f.Program.Within < 0:
		return fmt.Errorf("ready-timeout %v: must not be negative", f.Program.Within)
	}
	for _, e := range f.Program.Env {
		if name, _, _ := strings.Cut(e, "="); name == "" || strings.Contains(e, "\x00") {
			return fmt.Errorf("env %q: has no name, or a NUL", e)
		}
	}
	return nil
}

// routes checks that no two functions have one place.
func (c *Config) routes() error {
	seen := map[string]string{}
	for _, f := range c.Functions {
		for _, at := range []string{f.Path, f.Host} {
			if other, taken := seen[at]; taken && at != "" {
				return fmt.Errorf("function %s: %s is %s's already", f.Name, at, other)
			}
			seen[at] = f.Name
		}
	}
	return nil
}

func first(list ...string) string {
	for _, s := range list {
		if s != "" {
			return s
		}
	}
	return ""
}

// value is the last that is said.
func value[T any](v T, said ...*T) T {
	for _, p := range said {
		if p != nil {
			v = *p
		}
	}
	return v
}
