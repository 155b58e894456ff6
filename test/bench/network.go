package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

// networkBenchmark is what a peer on the host does with httpd, in a machine and
// natively with one thread, both over the same kind of link: a TAP and a pair of veth,
// or the user's network and loopback.
type networkBenchmark struct {
	name        string
	connections int   // requests at a time
	requests    int   // of each connection
	down, up    int64 // bytes of one stream
	tap, user   float64
}

// Of a request with one connection so much more than natively, in us.
const requestLatency = 120

// networkExits is how many user-space exits a request may take, with 16 connections.
const networkExits = 1

var networkBenchmarks = []networkBenchmark{
	{name: "Requests16", connections: 16, requests: 3000, tap: 0.35, user: 0.15},
	{name: "Requests1", connections: 1, requests: 5000},
	{name: "StreamOut", down: 512 << 20, tap: 0.3},
	{name: "StreamIn", up: 512 << 20, tap: 0.3},
}

// link is a way between a server and its peers.
type link struct {
	name   string // Tap or User
	native peer
	guest  peer
	ns     string   // the native server's namespace
	flags  []string // of pvrun run
}

func (s *suite) runNetworks(pattern *regexp.Regexp) error {
	var begun bool
	for _, b := range networkBenchmarks {
		for _, kind := range []string{"Tap", "User"} {
			name := "Net" + kind + b.name
			if !pattern.MatchString(name) {
				continue
			}
			if !begun {
				if err := s.buildImage("httpd"); err != nil {
					return err
				}
				begun = true
			}
			if err := s.compareNetwork(b, kind); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return nil
}

// newLink makes the namespaces and finds the ports; the function undoes it.
func newLink(kind string) (l link, undo func(), err error) {
	undo = func() {}
	if kind == "User" {
		a, b := freeAddress(), freeAddress()
		_, port, _ := net.SplitHostPort(b)
		return link{"User", peer{"", a}, peer{"", b}, "", []string{"--net", "user", "-p", port + ":8080"}}, undo, nil
	}
	prefix := fmt.Sprintf("pvb%d", os.Getpid())
	client, server, machine := prefix+"c", prefix+"s", prefix+"m"
	undo = func() {
		for _, ns := range []string{client, server, machine} {
			exec.Command("ip", "netns", "del", ns).Run()
		}
	}
	for _, line := range []string{
		"netns add " + client, "netns add " + server, "netns add " + machine,
		"-n " + client + " link add v0 type veth peer name v1 netns " + server,
		"-n " + client + " addr add 10.78.0.1/24 dev v0", "-n " + server + " addr add 10.78.0.2/24 dev v1",
		"-n " + client + " link set v0 up", "-n " + server + " link set v1 up",
	} {
		if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			undo()
			return l, undo, fmt.Errorf("ip %s: %w\n%s", line, err, out)
		}
	}
	flags := strings.Fields("--net tap:pv0 --ip 10.77.0.2/24 --gateway 10.77.0.1")
	return link{"Tap", peer{client, "10.78.0.2:8080"}, peer{machine, "10.77.0.2:8080"}, server, flags}, undo, nil
}

func freeAddress() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "127.0.0.1:0"
	}
	defer l.Close()
	return l.Addr().String()
}

// compareNetwork lets both servers run by themselves, in turn.
func (s *suite) compareNetwork(b networkBenchmark, kind string) error {
	var native, guest []sample
	for i := -1; i < min(s.runs, 5); i++ {
		l, undo, err := newLink(kind)
		if err != nil {
			return err
		}
		defer undo()
		n, err := s.serveNative(b, l)
		if err != nil {
			return fmt.Errorf("native: %w", err)
		}
		g, err := s.serveGuest(b, l)
		if err != nil {
			return fmt.Errorf("pvrun: %w", err)
		}
		undo()
		if i >= 0 {
			native, guest = append(native, n), append(guest, g)
		}
	}
	b.report(kind, native, guest)
	return nil
}

func (s *suite) serveNative(b networkBenchmark, l link) (sample, error) {
	args := []string{s.path("httpd"), "-tls", "", "-addr", l.native.address}
	if l.ns != "" {
		args = append([]string{"ip", "netns", "exec", l.ns}, args...)
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	return b.drive(cmd, l.native)
}

func (s *suite) serveGuest(b networkBenchmark, l link) (sample, error) {
	stats := s.path("stats.json")
	args := append([]string{s.path("pvrun"), "run", "--stats", stats}, l.flags...)
	args = append(args, s.path("httpd.img"), "-tls", "")
	if l.guest.ns != "" {
		args = append([]string{"ip", "netns", "exec", l.guest.ns}, args...)
	}
	x, err := b.drive(exec.Command(args[0], args[1:]...), l.guest)
	if err != nil {
		return x, err
	}
	text, err := os.ReadFile(stats)
	if err != nil {
		return x, err
	}
	return x, json.Unmarshal(text, &x.stats)
}

// drive starts a server, works it, and ends it.
func (b networkBenchmark) drive(server *exec.Cmd, p peer) (x sample, err error) {
	if err := server.Start(); err != nil {
		return x, err
	}
	err = p.await()
	if err == nil {
		x, err = b.work(p)
	}
	server.Process.Signal(os.Interrupt)
	ended := server.Wait()
	if err == nil {
		err = ended
	}
	x.cpu = usage(server).cpu
	return x, err
}

// work is what is measured; ns is of one request, or of 1 MiB of a stream.
func (b networkBenchmark) work(p peer) (x sample, err error) {
	var took time.Duration
	switch {
	case b.down > 0:
		took, err = p.download(b.down)
	case b.up > 0:
		took, err = p.upload(b.up)
	default:
		each, all, err := p.requests(b.requests, b.connections)
		if err != nil {
			return x, err
		}
		if took = all; b.connections == 1 {
			took = each[len(each)/2] * time.Duration(len(each))
		}
		x.ops = float64(len(each))
		x.ns = float64(took) / x.ops
		return x, nil
	}
	x.ops = float64(b.down+b.up) / (1 << 20)
	x.ns = float64(took) / x.ops
	return x, err
}

// report prints both sides, and what is to be reached.
func (b networkBenchmark) report(kind string, native, guest []sample) {
	name := "Net" + kind + b.name
	ns := func(x sample) float64 { return x.ns }
	cpu := func(x sample) float64 { return x.cpu / x.ops }
	user := median(guest, func(x sample) float64 { return float64(x.stats.Exits.Total-x.stats.Exits.BeforeMain) / x.ops })
	all := median(guest, func(x sample) float64 { return kernelExits(&x.stats) / x.ops })
	base, took := median(native, ns), median(guest, ns)
	fmt.Printf("Benchmark%s/native\t%d\t%.0f ns/op\t%.0f cpu-ns/op\n", name, len(native), base, median(native, cpu))
	fmt.Printf("Benchmark%s/pvrun\t%d\t%.0f ns/op\t%.0f cpu-ns/op\t%.3f x-native\t%.4g exits/op\t%.4g kernel-exits/op\n",
		name, len(guest), took, median(guest, cpu), took/base, user, all)
	d := diskBenchmark{name: name}
	speed := map[string]float64{"Tap": b.tap, "User": b.user}[kind]
	if speed > 0 {
		d.reach("speed of native's, or more", base/took, speed, base/took >= speed)
	}
	if b.connections > 1 {
		d.reach("exits/op, or less", user, networkExits, user <= networkExits)
	}
	if b.connections == 1 && kind == "Tap" {
		d.reach("us longer than natively, or less", (took-base)/1000, requestLatency, took-base <= requestLatency*1000)
	}
}
