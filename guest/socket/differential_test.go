package socket

import (
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pvrun/pvrun/guest/fs"
	"golang.org/x/sys/unix"
)

var seedFlag = flag.Int64("seed", 0, "of TestUnixLikeLinux; 0 for new ones")

// twin is one sequence of operations on both kernels.
type twin struct {
	t       *testing.T
	rnd     *rand.Rand
	linux   linuxKernel
	guest   guestKernel
	fds     [][2]int // Linux's and the guest's descriptors
	names   [][]byte // addresses
	pipe    [2]int   // a pipe's reading end, to be sent
	path    string
	log     []string
	differs bool
}

// TestUnixLikeLinux does random operations on sockets of unix(7), here and on Linux.
func TestUnixLikeLinux(t *testing.T) {
	if b, err := os.ReadFile("/proc/sys/net/unix/max_dgram_qlen"); err == nil {
		unixQueue, _ = strconv.Atoi(strings.TrimSpace(string(b)))
	}
	if *seedFlag != 0 {
		runTwin(t, *seedFlag)
		return
	}
	first, count := time.Now().UnixNano()&0xffffffff, int64(400)
	if testing.Short() {
		count = 50
	}
	for i := range count {
		if runTwin(t, first+i); t.Failed() {
			return
		}
	}
}

func runTwin(t *testing.T, seed int64) {
	w := &twin{t: t, rnd: rand.New(rand.NewSource(seed)), guest: newGuest(t), path: t.TempDir() + "/s"}
	dir := ""
	for _, part := range strings.Split(w.path, "/")[1:] {
		if dir != "" {
			w.guest.Mkdir(fs.AT_FDCWD, dir, 0o755)
		}
		dir += "/" + part
	}
	for i := range 3 {
		w.names = append(w.names,
			unixAddr(fmt.Sprintf("\x00pvrun-%d-%d-%d", os.Getpid(), seed, i)), unixAddr(w.path+strconv.Itoa(i)))
	}
	w.names = append(w.names, unixAddr(w.path), []byte{1, 0}, nil, []byte{2, 0, 1}, make([]byte, 120), append(unixAddr(w.path+"1"), 0, 'x'))
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ends[1])
	w.pipe[0] = ends[0]
	w.pipe[1], _, _ = w.guest.Pipe(0)
	for range 60 {
		if w.step(); w.differs {
			t.Errorf("seed %d:\n%s", seed, strings.Join(w.log, "\n"))
			break
		}
	}
	for _, fd := range append(w.fds, w.pipe) {
		w.linux.close(fd[0])
		w.guest.close(fd[1])
	}
}

func unixAddr(name string) []byte { return append([]byte{1, 0}, name...) }

// same compares what one operation gave.
func (w *twin) same(what string, linux, guest any) {
	l, g := fmt.Sprint(linux), fmt.Sprint(guest)
	w.log = append(w.log, what+": "+l)
	if l != g {
		w.log[len(w.log)-1] += "; the guest: " + g
		w.differs = true
	}
}

func (w *twin) pick() int { return w.rnd.Intn(len(w.fds)) }

func (w *twin) addr() []byte {
	if w.rnd.Intn(5) > 0 {
		return w.names[w.rnd.Intn(6)]
	}
	return w.names[w.rnd.Intn(len(w.names))]
}

func (w *twin) typ() int {
	return [...]int{fs.SOCK_STREAM, fs.SOCK_STREAM, fs.SOCK_DGRAM, fs.SOCK_SEQPACKET}[w.rnd.Intn(4)]
}

func (w *twin) add(l, g int) { w.fds = append(w.fds, [2]int{l, g}) }

func (w *twin) step() {
	n := w.rnd.Intn(20)
	switch {
	case len(w.fds) < 3 || n == 0 && len(w.fds) < 12:
		w.make()
	case n <= 3:
		w.connection()
	case n <= 9:
		w.send()
	case n <= 15:
		w.receive()
	case n <= 17:
		w.state()
	default:
		w.ending()
	}
}

func (w *twin) make() {
	typ := w.typ()
	if w.rnd.Intn(2) == 0 {
		l, e1 := w.linux.pair(typ)
		g, e2 := w.guest.pair(typ)
		w.same(fmt.Sprint("socketpair ", typ, " = ", len(w.fds)), e1, e2)
		w.add(l[0], g[0])
		w.add(l[1], g[1])
		return
	}
	l, e1 := w.linux.socket(fs.AF_UNIX, typ, 0)
	g, e2 := w.guest.socket(fs.AF_UNIX, typ, 0)
	w.same(fmt.Sprint("socket ", typ, " = ", len(w.fds)), e1, e2)
	w.add(l, g)
	if w.rnd.Intn(2) == 0 {
		w.bind(len(w.fds) - 1)
		w.same("listen", w.linux.listen(l, 2), w.guest.listen(g, 2))
	}
}

func (w *twin) bind(i int) {
	a := w.addr()
	if len(a) == 2 {
		return // what name it gets is chance
	}
	w.same(fmt.Sprintf("bind %d %q", i, a), w.linux.bind(w.fds[i][0], a), w.guest.bind(w.fds[i][1], a))
}

func (w *twin) connection() {
	i := w.pick()
	l, g := w.fds[i][0], w.fds[i][1]
	switch n := w.rnd.Intn(10); {
	case n == 0:
		w.bind(i)
	case n == 1:
		k := w.rnd.Intn(4) - 1
		w.same(fmt.Sprint("listen ", i, " ", k), w.linux.listen(l, k), w.guest.listen(g, k))
	case n < 6:
		a := w.addr()
		w.same(fmt.Sprintf("connect %d %q", i, a), w.linux.connect(l, a), w.guest.connect(g, a))
	default:
		nl, al, e1 := w.linux.accept(l)
		ng, ag, e2 := w.guest.accept(g)
		if e1 != 0 || e2 != 0 {
			al, ag = nil, nil
		}
		if e1 == fs.EAGAIN && e2 == fs.EINVAL && w.guest.ready(g)&fs.EPOLLRDHUP != 0 {
			e2 = e1 // on Linux only who waits learns that it is shut down
		}
		w.same(fmt.Sprint("accept ", i, " = ", len(w.fds)), fmt.Sprintf("%d %q", e1, al), fmt.Sprintf("%d %q", e2, ag))
		if e1 == 0 && e2 == 0 {
			w.add(nl, ng)
		}
	}
}

func rights(fds ...int) []byte {
	b := make([]byte, (16+4*len(fds)+7)&^7)
	binary.LittleEndian.PutUint64(b, uint64(16+4*len(fds)))
	binary.LittleEndian.PutUint32(b[8:], fs.SOL_SOCKET)
	binary.LittleEndian.PutUint32(b[12:], fs.SCM_RIGHTS)
	for i, fd := range fds {
		binary.LittleEndian.PutUint32(b[16+4*i:], uint32(fd))
	}
	return b
}

func (w *twin) send() {
	i := w.pick()
	data := make([]byte, w.rnd.Intn(40))
	w.rnd.Read(data)
	cut := w.rnd.Intn(len(data) + 1)
	what := fmt.Sprint("send ", i, " ", len(data))
	var m [2]fs.Message
	for k := range m {
		m[k].Data = [][]byte{data[:cut], data[cut:]}
	}
	if w.rnd.Intn(5) == 0 {
		a := w.addr()
		m[0].Addr, m[1].Addr = a, a
		what += fmt.Sprintf(" to %q", a)
	}
	if w.rnd.Intn(4) == 0 {
		// Of sockets there could be circles, which only Linux breaks.
		what += " with rights"
		for side := range m {
			m[side].Control = rights(w.pipe[side], w.pipe[side])
		}
	}
	n1, e1 := w.linux.send(w.fds[i][0], &m[0], 0)
	n2, e2 := w.guest.send(w.fds[i][1], &m[1], 0)
	w.same(what, fmt.Sprint(max(n1, 0), e1), fmt.Sprint(n2, e2))
}

func (w *twin) receive() {
	i := w.pick()
	size, room := 1+w.rnd.Intn(60), [...]int{0, 24, 64, 18}[w.rnd.Intn(4)]
	flags := [...]int{0, 0, 0, fs.MSG_PEEK, fs.MSG_TRUNC, fs.MSG_WAITALL, fs.MSG_OOB, fs.MSG_CMSG_CLOEXEC}[w.rnd.Intn(8)]
	if flags == fs.MSG_TRUNC && w.rnd.Intn(2) == 0 {
		flags |= fs.MSG_PEEK
	}
	var got [2]string
	var taken [2][]int
	for side, k := range []kernel{w.linux, w.guest} {
		b := make([]byte, size)
		m := fs.Message{Data: [][]byte{b[:size/2], b[size/2:]}, Room: room}
		n, e := k.receive(w.fds[i][side], &m, flags)
		if e != 0 {
			got[side] = fmt.Sprint("errno ", e)
			continue
		}
		fds, shape := takenRights(m.Control)
		if flags&fs.MSG_PEEK != 0 {
			// Linux looks at the rights behind the last byte, too.
			for _, fd := range fds {
				k.close(fd)
			}
			fds, shape, m.Flags = nil, "", m.Flags&^fs.MSG_CTRUNC
		}
		taken[side] = fds
		got[side] = fmt.Sprintf("%d %x from %q control %s flags %#x", n, b, m.Addr, shape, m.Flags)
	}
	w.same(fmt.Sprintf("receive %d %d+%d %#x = %d", i, size, room, flags, len(w.fds)), got[0], got[1])
	for k := range min(len(taken[0]), len(taken[1])) {
		w.add(taken[0][k], taken[1][k])
	}
}

// takenRights are the descriptors in control, and what there is but for their numbers.
func takenRights(control []byte) (fds []int, shape string) {
	shape = fmt.Sprint(len(control))
	for {
		level, typ, data, rest, ok, e := fs.NextControl(control)
		if !ok || e != 0 {
			return fds, shape
		}
		shape += fmt.Sprintf(" [%d %d %d]", level, typ, len(data))
		if level == fs.SOL_SOCKET && typ == fs.SCM_RIGHTS {
			for ; len(data) >= 4; data = data[4:] {
				fds = append(fds, int(binary.LittleEndian.Uint32(data)))
			}
		}
		control = rest
	}
}

func (w *twin) state() {
	i := w.pick()
	l, g := w.fds[i][0], w.fds[i][1]
	for _, peer := range []bool{false, true} {
		a, e1 := w.linux.name(l, peer)
		b, e2 := w.guest.name(g, peer)
		if e1 != 0 {
			a = nil
		}
		w.same(fmt.Sprint("name ", i, peer), fmt.Sprintf("%q %d", a, e1), fmt.Sprintf("%q %d", b, e2))
	}
	w.same(fmt.Sprint("ready ", i), w.linux.ready(l), w.guest.ready(g))
	if n, e := w.linux.buffered(l); e == 0 {
		k, e2 := w.guest.buffered(g)
		w.same(fmt.Sprint("buffered ", i), fmt.Sprint(n, e), fmt.Sprint(k, e2))
	}
	for _, name := range []int{fs.SO_TYPE, fs.SO_ACCEPTCONN, fs.SO_DOMAIN, fs.SO_PROTOCOL, fs.SO_SNDBUF, fs.SO_ERROR, fs.SO_LINGER, 1000} {
		a, e1 := w.linux.option(l, fs.SOL_SOCKET, name)
		b, e2 := w.guest.option(g, fs.SOL_SOCKET, name)
		if e1 != 0 {
			a = nil
		}
		w.same(fmt.Sprint("option ", i, " ", name), fmt.Sprint(a, e1), fmt.Sprint(b, e2))
	}
}

func (w *twin) ending() {
	i := w.pick()
	l, g := w.fds[i][0], w.fds[i][1]
	switch w.rnd.Intn(4) {
	case 0:
		how := w.rnd.Intn(4) - w.rnd.Intn(2)
		w.same(fmt.Sprint("shutdown ", i, " ", how), w.linux.shutdown(l, how), w.guest.shutdown(g, how))
	case 1:
		p := w.path + strconv.Itoa(w.rnd.Intn(3))
		w.same("unlink "+p, w.linux.unlink(p), w.guest.unlink(p))
	default:
		w.same(fmt.Sprint("close ", i), w.linux.close(l), w.guest.close(g))
		w.fds[i] = w.fds[len(w.fds)-1]
		w.fds = w.fds[:len(w.fds)-1]
	}
}
