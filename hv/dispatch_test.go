package hv

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pvrun/pvrun/hypercall"
)

// nasty are the values that a hostile guest passes for anything.
var nasty = []uint64{
	0, 1, 2, 7, 63, 64, 4095, 4096, 4097, 8192, 0xffff, 0x10000, 0x200000, 1 << 20, 1<<20 + 1, 1 << 31, 1 << 32,
	1 << 36, 1<<36 + 4096, 1 << 46, 1 << 47, 1<<47 - 1, 1<<47 - 4096, 1 << 48, 1<<63 - 1, 1 << 63, 1<<64 - 4096, 1<<64 - 1,
	testText, testTail, testData, testData + 4095, testROM, scratch, scratch + 8, scratch + 4095, scratch + 16*pageSize - 1, scratch + 16*pageSize,
	uint64(hypercall.ReservedGVA), uint64(hypercall.ReservedGVA) - 4096, uint64(hypercall.HypercallGVA),
	uint64(hypercall.StartInfoGVA), uint64(hypercall.SharedInfoGVA), uint64(hypercall.VCPUInfoGVA),
	uint64(hypercall.BootStackTop) - 64, kernelHalf,
}

// TestNastyArguments makes every call with every pair of nasty values in its
// first arguments, and the others in turn.
func TestNastyArguments(t *testing.T) {
	s := newShare(t, false)
	s.cfg.Stdout, s.cfg.Stdin = &bytes.Buffer{}, strings.NewReader("abc")
	s.openConsole()
	check := newChecker(t, s.VM)
	numbers := []uint64{0, 19, 20, 1 << 31, 1 << 63, 1<<64 - 1}
	for nr := range uint64(hypercall.CallEnd) {
		numbers = append(numbers, nr)
	}
	for _, nr := range numbers {
		for i, a0 := range nasty {
			for j, a1 := range nasty {
				a := callArgs{a0, a1, nasty[(i+j)%len(nasty)], nasty[(i*7+j)%len(nasty)], nasty[j], nasty[i]}
				if nr == uint64(hypercall.CallMap) && a1 >= 1<<31 && a1 <= 1<<36 {
					a[2] &^= uint64(hypercall.MapLazy) // memory is too short for its tables anyway
				}
				s.call(t, hypercall.Call(nr), a)
			}
			if err := check.check(); err != nil {
				t.Fatalf("after %v(%#x, …): %v", hypercall.Call(nr), a0, err)
			}
		}
		s.tables.doMap(scratch, 16*pageSize, hypercall.MapRead|hypercall.MapWrite)
	}
	if b, _ := os.ReadFile(filepath.Join(s.dir, "f")); string(b) != "contents" {
		t.Errorf("a read-only share's file holds %q", b)
	}
}

// call answers one call as the vCPU's loop does, without a vCPU, and proves
// that the result is one.
func (vm *VM) call(t testing.TB, nr hypercall.Call, a callArgs) int64 {
	begin, r := time.Now(), int64(0)
	switch nr {
	case hypercall.CallMulticall:
		r = vm.multicall(a)
	case hypercall.CallCrash:
		text := vm.crashText(a)
		if len(text) > 8*hypercall.MaxCrash || strings.ContainsAny(text, "\n\r\x1b") {
			t.Fatalf("crash text %q", text)
		}
	case hypercall.CallSuspend:
		if r, _ = vm.suspend(a[0]); r == 0 && vm.start.info.Ready == 0 && a[0] != 0 {
			t.Fatalf("at rest at the moment %#x, which nobody asked for", a[0])
		}
	case hypercall.CallStream:
		r, _ = vm.streams.call(a)
	default:
		r = vm.dispatch(nr, a)
	}
	if r < -4095 || r > hypercall.MaxConsole {
		t.Fatalf("%v%#x = %d", nr, a, r)
	}
	if d := time.Since(begin); d > time.Minute {
		t.Fatalf("%v%#x took %v", nr, a, d)
	}
	return r
}

func TestUnknownCalls(t *testing.T) {
	vm := newTestVM(t, 200)
	for _, nr := range []uint64{0, 16, 17, 18, 19, 20, 1 << 31, 1 << 32, 1<<32 | 5, 1 << 63, 1<<64 - 1} {
		if r := vm.dispatch(hypercall.Call(nr), callArgs{scratch, 4096, 3}); r != -int64(hypercall.ENOSYS) {
			t.Errorf("call %#x: %d", nr, r)
		}
	}
}

func putEntry(vm *VM, at uint64, nr hypercall.Call, a ...uint64) {
	var b [entrySize]byte
	binary.LittleEndian.PutUint64(b[:], uint64(nr))
	for i, v := range a {
		binary.LittleEndian.PutUint64(b[8+8*i:], v)
	}
	binary.LittleEndian.PutUint64(b[56:], 0x5a5a5a5a5a5a5a5a)
	vm.space.copyOut(at, b[:])
}

func entryResult(vm *VM, at uint64) int64 {
	var b [8]byte
	vm.space.copyIn(b[:], at+56)
	return int64(binary.LittleEndian.Uint64(b[:]))
}

func TestMulticall(t *testing.T) {
	vm, _ := newConsoleVM(t, Config{})
	const end = scratch + 16*pageSize
	tests := []struct {
		at, n uint64
		want  int64
	}{
		{scratch, 0, 0},
		{1<<64 - 1, 0, 0},
		{scratch, hypercall.MaxMulticall, hypercall.MaxMulticall},
		{scratch, hypercall.MaxMulticall + 1, -int64(hypercall.EINVAL)},
		{scratch, 1<<64 - 1, -int64(hypercall.EINVAL)},
		{scratch, 1 << 58, -int64(hypercall.EINVAL)},
		{0, 1, -int64(hypercall.EFAULT)},
		{end - 64, 1, 1},
		{end - 64, 2, -int64(hypercall.EFAULT)},
		{end - 63, 1, -int64(hypercall.EFAULT)},
		{scratch + pageSize - 31, 3, 3},
		{testROM, 1, -int64(hypercall.EFAULT)},
		{1<<64 - 64, 2, -int64(hypercall.EFAULT)},
	}
	for _, test := range tests {
		if r := vm.multicall(callArgs{test.at, test.n}); r != test.want {
			t.Errorf("multicall(%#x, %d) = %d, want %d", test.at, test.n, r, test.want)
		}
	}
	for i, nr := range []hypercall.Call{hypercall.CallMulticall, hypercall.CallBlock, hypercall.CallExit, hypercall.CallCrash, hypercall.CallSetUpcall, hypercall.CallSuspend, hypercall.CallRespond, hypercall.CallStream} {
		putEntry(vm, scratch+uint64(i)*64, nr, scratch, 1)
	}
	putEntry(vm, scratch+8*64, 0)
	putEntry(vm, scratch+9*64, 1<<63)
	putEntry(vm, scratch+10*64, hypercall.CallMap, 0x30_0000_0000, pageSize, uint64(hypercall.MapRead))
	if r := vm.multicall(callArgs{scratch, 11}); r != 11 {
		t.Fatalf("multicall: %d", r)
	}
	for i, want := range []hypercall.Status{22, 22, 22, 22, 22, 22, 22, 22, hypercall.ENOSYS, hypercall.ENOSYS, 0} {
		if r := entryResult(vm, scratch+uint64(i)*64); r != -int64(want) {
			t.Errorf("entry %d: %d, want %d", i, r, -int64(want))
		}
	}
	// One that takes its own array away.
	putEntry(vm, scratch, hypercall.CallUnmap, scratch, pageSize)
	if r := vm.multicall(callArgs{scratch, 3}); r != -int64(hypercall.EFAULT) {
		t.Errorf("an array that unmaps itself: %d", r)
	}
	vm.stop.Store(true)
	if r := vm.multicall(callArgs{scratch + pageSize, 100}); r != 0 {
		t.Errorf("a stopped machine still did %d calls", r)
	}
}

// TestEntropy: bytes are fresh, and the buffer's neighbours are untouched.
func TestEntropy(t *testing.T) {
	vm, _ := newConsoleVM(t, Config{})
	get := func(n int) []byte {
		b := make([]byte, n)
		vm.space.copyIn(b, scratch)
		return b
	}
	if r := vm.dispatch(hypercall.CallEntropy, callArgs{scratch, 32}); r != 32 {
		t.Fatalf("entropy: %d", r)
	}
	a := get(40)
	vm.dispatch(hypercall.CallEntropy, callArgs{scratch, 32})
	if b := get(40); bytes.Equal(a[:32], b[:32]) || !bytes.Equal(b[32:], make([]byte, 8)) {
		t.Errorf("%x, then %x", a, b)
	}
	for _, test := range []struct {
		at, n uint64
		want  hypercall.Status
	}{{scratch, 4097, hypercall.EINVAL}, {scratch, 1<<64 - 1, hypercall.EINVAL}, {testROM, 8, hypercall.EFAULT}, {0, 8, hypercall.EFAULT}} {
		if r := vm.dispatch(hypercall.CallEntropy, callArgs{test.at, test.n}); r != -int64(test.want) {
			t.Errorf("entropy(%#x, %d) = %d", test.at, test.n, r)
		}
	}
}

func TestSuspendRenews(t *testing.T) {
	vm := newTestVM(t, 200)
	entropy, _ := reflect.TypeFor[hypercall.StartInfo]().FieldByName("Entropy")
	at := uint64(hypercall.StartInfoGVA) + uint64(entropy.Offset)
	var a, b [64]byte
	vm.space.copyIn(a[:], at)
	if r, rests := vm.suspend(0); r != hypercall.SuspendContinued || rests {
		t.Fatal(r, rests)
	}
	vm.space.copyIn(b[:], at)
	if a == b {
		t.Error("the entropy of the first life is that of the second")
	}
}

// FuzzDispatch makes a random program of calls, then proves that the tables
// are still right.
func FuzzDispatch(f *testing.F) {
	f.Add([]byte{5, 1, 2, 3, 4, 6, 1, 2, 3, 4})
	for nr := range byte(hypercall.CallEnd) {
		f.Add([]byte{nr, 32, 7, 3, 33, 34, 35, 14, 32, 2, 0, 0, 0, 0})
	}
	dir := f.TempDir()
	os.WriteFile(filepath.Join(dir, "f"), []byte("x"), 0o644)
	root, err := os.OpenRoot(dir)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { root.Close() })
	f.Fuzz(func(t *testing.T, program []byte) {
		vm, _ := newConsoleVM(t, Config{})
		vm.cfg.Shares = []Share{{Root: root, Guest: "/share", Writable: true}}
		defer vm.files.close()
		check := newChecker(t, vm)
		if len(program) > 600 {
			program = program[:600]
		}
		for len(program) >= 6 {
			nr, a := fuzzCall(program)
			fuzzMemory(vm, program)
			vm.call(t, nr, a)
			program = program[6:]
			if err := check.check(); err != nil {
				t.Fatalf("after %v%#x: %v", nr, a, err)
			}
		}
	})
}

// fuzzCall takes a number and arguments out of six bytes: nasty values, sums
// of them, and small numbers of pages.
func fuzzCall(b []byte) (hypercall.Call, callArgs) {
	value := func(v byte) uint64 {
		if v >= 128 {
			return uint64(v-128) * pageSize
		}
		return nasty[int(v)%len(nasty)]
	}
	nr := hypercall.Call(b[0])
	if b[0] > 200 {
		nr = hypercall.Call(value(b[0]))
	}
	a := callArgs{value(b[1]), value(b[2]), uint64(b[3]), value(b[4]), value(b[5]), value(b[1] ^ b[2])}
	if b[3] >= 64 {
		a[2] = value(b[3])
	}
	if b[5]&1 != 0 {
		a[0] += scratch
	}
	// A machine this small cannot hold what these would take, but walking the
	// lazy half of it would make the fuzzer slow.
	if nr == hypercall.CallMap && a[1] > 1<<26 && a[1] <= 1<<36 {
		a[1] = 1 << 26
	}
	return nr, a
}

// fuzzMemory makes the memory that calls read the program itself.
func fuzzMemory(vm *VM, program []byte) {
	var b [8 * entrySize]byte
	for i := range b {
		b[i] = program[i%len(program)]
	}
	for i := 0; i+entrySize <= len(b); i += entrySize {
		nr, a := fuzzCall(program[i/entrySize%(len(program)-5):])
		binary.LittleEndian.PutUint64(b[i:], uint64(nr))
		for j, v := range a {
			binary.LittleEndian.PutUint64(b[i+8+8*j:], v)
		}
	}
	vm.space.copyOut(scratch, b[:])
}
