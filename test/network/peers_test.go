package network

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Machines on one network reach each other by name.
func TestNames(t *testing.T) {
	network := "user:" + newName()
	server := start(t, "", []string{"--net", network, "--name", "server"}, "grpc", "serve")
	server.says(t, "listening")
	client := start(t, "", []string{"--net", network, "--name", "caller"}, "grpc", "-addr", "server:50051", "-n", "200", "call")
	if got := client.wait(t, 0); got != "200 calls\n200 messages\n" {
		t.Errorf("got %q", got)
	}
}

// A reverse proxy in one machine gives the requests to two others.
func TestProxy(t *testing.T) {
	network := "user:" + newName()
	for _, name := range []string{"a", "b"} {
		start(t, "", []string{"--net", network, "--name", name}, "httpd", "-tls", "").says(t, "http://")
	}
	address := freePort(t)
	_, port, _ := net.SplitHostPort(address)
	start(t, "", []string{"--net", network, "-p", port + ":8080"}, "proxy", "http://a:8080", "http://b:8080").says(t, "listening")
	c, count := browser(t, ""), map[string]int{}
	for range 20 {
		count[get(t, c, "http://"+address+"/")]++
	}
	if count["hello from a\n"] != 10 || count["hello from b\n"] != 10 {
		t.Errorf("got %v", count)
	}
}

// Tools that people have.
func TestTools(t *testing.T) {
	eachNetwork(t, func(t *testing.T, network string) {
		s := httpd(t, network)
		t.Run("curl", func(t *testing.T) {
			tool(t, "curl")
			for _, url := range []string{"http://" + s.http + "/", "https://" + s.tls + "/"} {
				out, err := within(s.ns, "curl", "-sSk", "--max-time", "20", url).CombinedOutput()
				if err != nil || !strings.HasPrefix(string(out), "hello from ") {
					t.Errorf("curl %s: %v\n%s", url, err, out)
				}
			}
		})
		t.Run("wrk", func(t *testing.T) {
			tool(t, "wrk")
			out, err := within(s.ns, "wrk", "-t1", "-c16", "-d2s", "http://"+s.http+"/").CombinedOutput()
			if err != nil || strings.Contains(string(out), "Socket errors") || strings.Contains(string(out), "Non-2xx") {
				t.Errorf("wrk: %v\n%s", err, out)
			}
		})
		t.Run("hey", func(t *testing.T) {
			tool(t, "hey")
			out, err := within(s.ns, "hey", "-n", "2000", "-c", "16", "http://"+s.http+"/").CombinedOutput()
			if err != nil || !regexp.MustCompile(`\[200\]\s+2000 responses`).Match(out) {
				t.Errorf("hey: %v\n%s", err, out)
			}
		})
	})
}

// Not one of many pings is lost.
func TestPing(t *testing.T) {
	tool(t, "ping")
	count := 10_000
	if *long {
		count = 100_000
	}
	s := httpd(t, "tap")
	out := shell(t, "ip", "netns", "exec", s.ns, "ping", "-f", "-q", "-c", fmt.Sprint(count), "10.77.0.2")
	if !strings.Contains(out, fmt.Sprintf("%d packets transmitted, %d received, 0%% packet loss", count, count)) {
		t.Error(out)
	}
}

// What was captured is what was said.
func TestCapture(t *testing.T) {
	tool(t, "tshark")
	file := filepath.Join(t.TempDir(), "capture.pcap")
	s := httpd(t, "tap", "--pcap", file)
	get(t, s.httpClient, "http://"+s.http+"/bytes/100000")
	s.stop()
	info, err := os.Stat(file)
	if err != nil || info.Size() < 100_000 {
		t.Fatalf("%+v, %v", info, err)
	}
	out := shell(t, "tshark", "-r", file, "-Y", "http", "-T", "fields", "-e", "http.request.uri", "-e", "http.response.code")
	if !strings.Contains(out, "/bytes/100000") || !strings.Contains(out, "200") {
		t.Errorf("tshark: %s", out)
	}
}

// A TAP that is taken away does not take the program with it.
func TestTapDeleted(t *testing.T) {
	s := httpd(t, "tap")
	get(t, s.httpClient, "http://"+s.http+"/")
	shell(t, "ip", "-n", s.ns, "link", "del", "pv0")
	select {
	case <-s.ended:
		t.Fatalf("the machine has ended: %s", s.stderr.text())
	default:
	}
	s.stop()
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d\n%s", code, s.stderr.text())
	}
}
