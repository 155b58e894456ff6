package main

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"plugin"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

var (
	_ = add("args", func(args []string) { fmt.Printf("%q\n", os.Args[1:]) })
	_ = add("env", environ)
	_ = add("where", where)
	_ = add("self", self)
	_ = add("random", random)
	_ = add("cannot", cannot)
	_ = add("unix", unixCalls)
	_ = add("copy", func([]string) { must(io.Copy(os.Stdout, os.Stdin)) })
	_ = add("copy-error", func([]string) { must(io.Copy(os.Stderr, os.Stdin)) })
	_ = add("both", both)
	_ = add("flood", flood)
	_ = add("lines", lines)
	_ = add("terminal", terminal)
	_ = add("notify", notify)
	_ = add("ignore", func([]string) { signal.Ignore(syscall.SIGINT, syscall.SIGTERM); fmt.Println("ready"); spin() })
	_ = add("wait", func([]string) { fmt.Println("ready"); time.Sleep(time.Hour) })
	_ = add("kill", kill)
	_ = add("crash", func([]string) { crash() })
	_ = add("halt", func([]string) { halt() })
	_ = add("deaf", func([]string) { fmt.Println("ready"); deaf() })
)

func environ(args []string) {
	list := os.Environ()
	slices.Sort(list)
	for _, kv := range list {
		if key, _, _ := strings.Cut(kv, "="); len(args) == 0 || slices.Contains(args, key) {
			fmt.Printf("%q\n", kv)
		}
	}
}

func where([]string) {
	fmt.Println(must(os.Getwd()))
	_, err := os.Stat("here")
	fmt.Println(err)
	_, err = os.ReadDir(".")
	fmt.Println("folder", err == nil)
}

func self([]string) {
	fmt.Println("hostname", must(os.Hostname()))
	fmt.Println("pid", os.Getpid() > 0, "uid", os.Getuid(), "gid", os.Getgid(), "page", os.Getpagesize())
	fmt.Println("args", os.Args[0], len(os.Args))
	fmt.Println("home", must(os.UserHomeDir()), "temp", os.TempDir())
	u, err := user.Current()
	fmt.Println("user", u != nil && u.Uid == "0", err)
}

func random([]string) {
	b := make([]byte, 16)
	must(rand.Read(b))
	fmt.Printf("%x\n", b)
	big := make([]byte, 100_000)
	must(rand.Read(big))
	var seen [256]int
	for _, c := range big {
		seen[c]++
	}
	fmt.Println(slices.Min(seen[:]) > 200, slices.Max(seen[:]) < 600)
	dev := must(os.Open("/dev/urandom"))
	must(io.ReadFull(dev, b))
	fmt.Printf("%x\n", b)
}

// cannot asks for what a machine without processes does not have.
func cannot([]string) {
	_, err := exec.Command("/bin/sh", "-c", "true").Output()
	fmt.Println("exec:", err)
	_, err = os.StartProcess("/exe", []string{"exe"}, &os.ProcAttr{})
	fmt.Println("start:", err)
	fmt.Println("syscall.Exec:", syscall.Exec("/exe", nil, nil))
	_, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	fmt.Println("socket in a program without net:", err)
	_, err = plugin.Open("/p.so")
	fmt.Println("plugin:", err)
	fmt.Println("mount:", unix.Mount("a", "/b", "c", 0, ""))
	_, err = unix.PtraceGetEventMsg(1)
	fmt.Println("ptrace:", err)
}

// unixCalls are literal system calls of a module that knows nothing of pvrun.
func unixCalls([]string) {
	fmt.Println("ids", unix.Getuid(), unix.Geteuid(), unix.Getgid(), unix.Getegid(), unix.Getpid() == os.Getpid())
	var uts unix.Utsname
	check(unix.Uname(&uts))
	fmt.Println(unix.ByteSliceToString(uts.Sysname[:]), unix.ByteSliceToString(uts.Machine[:]))
	var ts unix.Timespec
	check(unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts))
	fmt.Println(ts.Nano() > 0, unix.Getpagesize())
	b := make([]byte, 8)
	fmt.Println(must(unix.Getrandom(b, 0)))
	var p [2]int
	check(unix.Pipe2(p[:], unix.O_CLOEXEC))
	fmt.Println(must(unix.Write(p[1], []byte("pipe"))), must(unix.Read(p[0], b)), string(b[:4]))
	check(unix.Close(p[0]))
	check(unix.Close(p[1]))
	fmt.Println(unix.Close(p[0]))
	var usage unix.Rusage
	check(unix.Getrusage(unix.RUSAGE_SELF, &usage))
	var limit unix.Rlimit
	check(unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	fmt.Println(limit.Cur > 100)
	_, _, e := unix.Syscall(9999, 0, 0, 0)
	fmt.Println(e)
	pid, _, e := unix.RawSyscall(unix.SYS_GETPID, 0, 0, 0)
	fmt.Println(int(pid) == os.Getpid(), e)
}

func both([]string) {
	for i := range 5 {
		fmt.Println("out", i)
		fmt.Fprintln(os.Stderr, "err", i)
	}
}

// flood writes until stdout is gone.
func flood([]string) {
	b := make([]byte, 64<<10)
	for {
		if _, err := os.Stdout.Write(b); err != nil {
			fmt.Fprintln(os.Stderr, "write:", err)
			os.Exit(1)
		}
	}
}

// lines answers each line at once.
func lines([]string) {
	in := bufio.NewScanner(os.Stdin)
	for n := 1; in.Scan(); n++ {
		fmt.Printf("%d %q\n", n, in.Text())
	}
	fmt.Println("end", in.Err())
}

func terminal([]string) {
	for fd := range 3 {
		_, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		fmt.Print(err == nil, " ")
	}
	if ws, err := unix.IoctlGetWinsize(1, unix.TIOCGWINSZ); err == nil {
		fmt.Print(ws.Row, "x", ws.Col)
	}
	info := must(os.Stdout.Stat())
	fmt.Println("", info.Mode()&os.ModeCharDevice != 0, os.Getenv("TERM"))
	lines(nil)
}

// notify prints the signals that come, in order of coming, and ends with 3
// after as many as args say.
func notify(args []string) {
	c := make(chan os.Signal, 10)
	signal.Notify(c, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH)
	if len(args) > 1 {
		go spin()
	}
	fmt.Println("ready")
	for range len(args[0]) {
		fmt.Println((<-c).String())
	}
	os.Exit(3)
}

// crash masks a machine's events and faults.
func crash()
func halt()

// deaf masks a machine's events and spins: no signal, tick or timer reaches
// it. On Linux it is a segmentation fault.
func deaf()

// kill sends a signal to itself.
func kill(args []string) {
	sig := map[string]syscall.Signal{
		"usr1": syscall.SIGUSR1, "term": syscall.SIGTERM, "int": syscall.SIGINT,
		"kill": syscall.SIGKILL, "hup": syscall.SIGHUP, "abrt": syscall.SIGABRT,
	}[args[0]]
	c := make(chan os.Signal, 1)
	if len(args) > 1 {
		signal.Notify(c, sig)
	}
	check(syscall.Kill(os.Getpid(), sig))
	select {
	case s := <-c:
		fmt.Println("got", s)
	case <-time.After(10 * time.Second):
		fmt.Println("nothing came")
	}
}
