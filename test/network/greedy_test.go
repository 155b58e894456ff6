package network

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A program that takes sockets, connections or answers without end comes to one, and
// goes on when it has given them back. Its network and its host have little of it.
func TestGreedy(t *testing.T) {
	for _, c := range []struct {
		what, ends string
		takesLong  bool
	}{
		{"sockets", "EMFILE ENOBUFS", false},
		{"listeners", "EMFILE ENOBUFS EADDRINUSE", true},
		{"datagrams", "ended", false},
		{"connections", "ended", true},
		{"names", "ended", true},
	} {
		t.Run(c.what, func(t *testing.T) {
			if c.takesLong && !*long {
				t.Skip("NOT TESTED: it takes long; see make network")
			}
			held := holding(t)
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "here") })}
			go server.Serve(l)
			defer server.Close()
			at := func(a net.Addr) string {
				_, port, _ := net.SplitHostPort(a.String())
				return "host.pvrun.internal:" + port
			}
			m := start(t, "", []string{"--net", "user", "-m", "512m"}, "./greedy", c.what, at(held), "http://"+at(l.Addr())+"/")
			pid, helper := m.cmd.Process.Pid, 0
			most, mostHelper := 0, 0
			for running := true; running; {
				select {
				case <-m.ended:
					running = false
				case <-time.After(100 * time.Millisecond):
					if helper == 0 {
						if list := networksOf(t, pid, ""); len(list) == 1 {
							helper = list[0]
						}
						continue
					}
					most, mostHelper = max(most, resident(pid)), max(mostHelper, resident(helper))
				}
			}
			lines := strings.Split(m.wait(t, 0), "\n")
			how, _ := strings.CutPrefix(lines[0], c.what+" ")
			if !strings.Contains(" "+c.ends+" ", " "+how+" ") || lines[1] != "fetched <nil>" {
				t.Errorf("%q", lines)
			}
			t.Logf("%s: pvrun had %d MB, pvrun-net %d MB", strings.TrimSpace(m.stderr.text()), most>>20, mostHelper>>20)
			if most > (512+64)<<20 || mostHelper > 512<<20 {
				t.Errorf("pvrun had %d MB, pvrun-net %d MB", most>>20, mostHelper>>20)
			}
		})
	}
}

// holding is a listener that holds what connects to it until the other side closes.
func holding(t *testing.T) net.Addr {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				io.Copy(io.Discard, c)
				c.Close()
			}()
		}
	}()
	return l.Addr()
}
