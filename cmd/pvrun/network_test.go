package main

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/internal/image"
	"github.com/pvrun/pvrun/internal/network"
)

// netImage is a file that says of itself that it uses features, for a fakeMachine.
func netImage(t *testing.T, usable hypercall.Feature) string {
	t.Helper()
	le := binary.LittleEndian
	desc := le.AppendUint32(nil, hypercall.Version)
	desc = le.AppendUint32(desc, 2)
	desc = le.AppendUint64(desc, 0)
	desc = append(le.AppendUint64(desc, uint64(usable)), "{}"...)
	note := le.AppendUint32(nil, uint32(len(hypercall.NoteName)+1))
	note = le.AppendUint32(note, uint32(len(desc)))
	note = le.AppendUint32(note, hypercall.NoteType)
	note = append(note, hypercall.NoteName+"\x00\x00\x00"...)
	note = append(note, desc...)
	for len(note)%4 != 0 {
		note = append(note, 0)
	}
	const headers, entry = 64 + 2*56, 0x400000
	f := bytes.NewBuffer([]byte{0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	write := func(v ...any) {
		for _, x := range v {
			binary.Write(f, le, x)
		}
	}
	write(uint16(2), uint16(62), uint32(1), uint64(entry), uint64(64), uint64(0), uint32(0),
		uint16(64), uint16(56), uint16(2), uint16(0), uint16(0), uint16(0))
	write(uint32(1), uint32(5), uint64(0), uint64(entry), uint64(entry), uint64(0x1000), uint64(0x1000), uint64(0x1000))
	write(uint32(4), uint32(4), uint64(headers), uint64(0), uint64(0), uint64(len(note)), uint64(len(note)), uint64(4))
	f.Write(note)
	f.Write(make([]byte, 0x1000-f.Len()))
	name := filepath.Join(t.TempDir(), "prog.img")
	if err := os.WriteFile(name, f.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestHasSockets(t *testing.T) {
	if !image.HasSockets(netImage(t, hypercall.FeatureConsole|hypercall.FeatureNet)) || image.HasSockets(netImage(t, hypercall.FeatureConsole)) {
		t.Error("wrong")
	}
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if image.HasSockets("none") || image.HasSockets(imageFile(t)) || image.HasSockets(fifo) {
		t.Error("what is no image has sockets")
	}
}

// A program without sockets starts no network; one that needs pvrun-net says so.
func TestNetworkDefault(t *testing.T) {
	old := network.Helper
	defer func() { network.Helper = old }()
	asked := 0
	network.Helper = func() (string, error) { asked++; return "", network.ErrNoHelper }
	m := &fakeMachine{ends: true}
	m.use(t)
	sockets, none := netImage(t, hypercall.FeatureNet), netImage(t, 0)
	for _, args := range [][]string{{"run", none}, {"run", "--net", "none", sockets}, {"run", "--net", "none", none}} {
		if code, _, stderr := pvrunCommand(t, args...); code != 0 || asked != 0 || m.cfg.NICs != nil {
			t.Errorf("%q: exit code %d, %q, asked %d times", args, code, stderr, asked)
		}
	}
	missing := network.ErrNoHelper.Error() + "\n"
	if code, _, stderr := pvrunCommand(t, "run", sockets); code != 0 || asked != 1 || stderr != "pvrun: there is no network: "+missing {
		t.Errorf("exit code %d, %q, asked %d times", code, stderr, asked)
	}
	for _, flags := range [][]string{{"--net", "user"}, {"-p", "0:80"}} {
		if code, _, stderr := pvrunCommand(t, append(append([]string{"run"}, flags...), sockets)...); code != exitHost || stderr != "pvrun: "+missing {
			t.Errorf("%q: exit code %d, %q", flags, code, stderr)
		}
	}
}

// TestNetworkUsage checks that each wrong flag is told in one line.
func TestNetworkUsage(t *testing.T) {
	m := &fakeMachine{ends: true}
	m.use(t)
	image := netImage(t, hypercall.FeatureNet)
	for _, test := range []struct{ flags, want string }{
		{"--net frob", "--net frob: must be user, user:NAME, tap:NAME, bridge:NAME or none"},
		{"--net tap", "--net tap: tap needs a name: tap:NAME"},
		{"-p x", `invalid argument "x" for "-p, --publish" flag: must be [ADDR:]HOST:GUEST[/udp], such as 8080:80 (see 'pvrun run --help')`},
		{"--net tap:t -p 1:2", "-p is for --net user: with --net tap:t the machine has an address of its own"},
		{"--net none -p 1:2", "--net none has no -p, --mtu or --mac"},
		{"--ip 10.0.0.2/24", "--ip, --gateway and --dns are for tap and bridge; --net user has its own"},
		{"--net tap:t --ip 10.0.0.2", "--ip 10.0.0.2: must be an address with the length of its network, such as 10.0.0.2/24"},
		{"--net tap:t --gateway x", "--gateway x: is no IP address"},
		{"--net tap:t --dns x", "--dns x: is no IP address"},
		{"--net tap:t --gateway 10.0.0.1", "--gateway and --dns need --ip; without it the machine asks by DHCP"},
		{"--mac 01:00:00:00:00:00", "--mac 01:00:00:00:00:00: must be one interface's, such as 52:54:00:12:34:56"},
		{"--mtu 100", "--mtu 100: must be from 1280 to 65521"},
		{"--net-rate x", `invalid argument "x" for "--net-rate" flag: must be a number with a unit such as 64m or 1g (see 'pvrun run --help')`},
		{"--name a.b", "--name a.b: must be letters, digits and -, 63 at the most"},
	} {
		args := append(append([]string{"run"}, strings.Fields(test.flags)...), image)
		if code, _, stderr := pvrunCommand(t, args...); code != exitHost || stderr != "pvrun: "+test.want+"\n" {
			t.Errorf("%s: exit code %d, %q, want %q", test.flags, code, stderr, test.want)
		}
	}
	want := "pvrun: -p 127.0.0.1:1:2: the program has no sockets: it does not import net\n"
	if code, _, stderr := pvrunCommand(t, "run", "-p", "1:2", netImage(t, 0)); code != exitHost || stderr != want {
		t.Errorf("exit code %d, %q, want %q", code, stderr, want)
	}
}

// The flags of pvrun test reach pvrun exec.
func TestNetworkTestFlags(t *testing.T) {
	a, err := sortTestArgs(strings.Fields("-p 2 --net user --publish 8080:80 -net-rate=10m --name x --pcap f --mtu 1500 --mac 02:00:00:00:00:01 ./..."))
	if err != nil || !reflect.DeepEqual(a.rest, []string{"-p", "2", "./..."}) {
		t.Fatalf("got %+v, %v", a, err)
	}
	got, err := execFlags(a.own)
	if err != nil {
		t.Fatal(err)
	}
	pcap, _ := filepath.Abs("f")
	for _, want := range []string{"--net=user", "--publish=127.0.0.1:8080:80", "--net-rate=10m", "--name=x", "--pcap=" + pcap, "--mtu=1500", "--mac=02:00:00:00:00:01"} {
		if !strings.Contains(" "+strings.Join(got, " ")+" ", " "+want+" ") {
			t.Errorf("no %s in %q", want, got)
		}
	}
}
