package e2e

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pvrun/pvrun/guest/fs/vol"
)

// volumeRun is `pvrun volume`.
func volumeRun(t *testing.T, args ...string) outcome {
	t.Helper()
	return finish(t, command(append([]string{"volume"}, args...)...))
}

var volumeNumber atomic.Int32

// newVolume makes a volume with a name of its own; flags are as of create. It has to
// be whole when the test is over.
func newVolume(t *testing.T, size string, flags ...string) (name string) {
	t.Helper()
	name = fmt.Sprint("v", volumeNumber.Add(1))
	wants(t, volumeRun(t, append([]string{"create", name, "--size", size}, flags...)...), 0, "", "")
	t.Cleanup(func() {
		fsck(t, name)
		wants(t, volumeRun(t, "rm", name), 0, "", "")
	})
	return name
}

// volumeFile is where a volume with a name is.
func volumeFile(name string) string {
	return filepath.Join(scratch, "data/pvrun/volumes", name+".vol")
}

func fsck(t *testing.T, name string) {
	t.Helper()
	if got := volumeRun(t, "fsck", name); got.code != 0 || !strings.HasPrefix(got.stdout, name+": clean, ") {
		t.Errorf("fsck %s: %+v", name, got)
	}
}

// One machine after the other does on a volume what a native program does in a
// folder, each with what the one before has left.
func TestVolumeRuns(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, mode string) {
		name, dir := newVolume(t, "64m"), t.TempDir()
		flags := in(mode, "-v", name+":/some/where")
		crowd := map[string]string{"pv": "10000", "trap": "1000"}[mode] // files in a folder
		for _, step := range []string{"vol-make", "sums", "vol-change", "sums", "vol-map", "vol-crowd", "vol-leave", "sums"} {
			want := finish(t, nativeCommand(t, cases, step, dir, crowd))
			got := run(t, cases, flags, step, "/some/where", crowd)
			wants(t, got, 0, want.stdout, "")
			if want.code != 0 || want.stdout == "" || strings.Contains(want.stdout, "volumes.go:") {
				t.Errorf("native %s: %+v", step, want)
			}
			fsck(t, name)
		}
	})
}

// What programs do with files in memory they do on a volume.
func TestSameOnVolume(t *testing.T) {
	t.Parallel()
	for _, test := range []string{"files", "folders", "links", "root", "locks", "many", "big", "errors", "unix"} {
		t.Run(test, func(t *testing.T) {
			t.Parallel()
			want := finish(t, nativeCommand(t, cases, test))
			eachMode(t, func(t *testing.T, mode string) {
				name := newVolume(t, "128m")
				got := run(t, cases, in(mode, "-e", "TMPDIR=/host/tmp", "-v", name+":/host/tmp"), test)
				wants(t, got, want.code, want.stdout, "")
				got = run(t, cases, in(mode, "-v", name+":/v:ro"), "sums", "/v")
				wants(t, got, 0, ". drwxr-xr-x\n", "")
			})
		})
	}
}

// A full volume is ENOSPC, as often as one likes, and has all its room again when
// files are removed.
func TestVolumeFull(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, mode string) {
		name := newVolume(t, "8m")
		const end = ". drwxr-xr-x\nafter -rw-r--r-- 1048576 a1415d67\nkept -rw-r--r-- 4 fb286a06\n"
		want := strings.Repeat("true true kept\n<nil>\n", 3) + end
		wants(t, run(t, cases, in(mode, "-v", name+":/v"), "vol-full", "/v"), 0, want, "")
		fsck(t, name)
		wants(t, run(t, cases, in(mode, "-v", name+":/v"), "sums", "/v"), 0, end, "")
	})
}

// A volume that is shown to be read is as a folder that is, and its file stays as it
// was; several machines may read it.
func TestVolumeReadOnly(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, mode string) {
		name := newVolume(t, "1m", "--from", write(t, map[string]string{"f": "text", "d/x": "x"}))
		before, err := os.ReadFile(volumeFile(name))
		if err != nil {
			t.Fatal(err)
		}
		other := newTalk(t, runCommand(t, cases, in(mode, "-v", name+":/ro:ro"), "watch"))
		other.ask(`"text" <nil>`, "/ro/f")
		got := run(t, cases, in(mode, "-v", name+":/ro:ro"), "unwritable", "/ro")
		wants(t, got, 0, got.stdout, "")
		golden(t, "unwritable", got.stdout)
		other.ask(`"x" <nil>`, "/ro/d/x")
		if after, err := os.ReadFile(volumeFile(name)); err != nil || !bytes.Equal(before, after) {
			t.Errorf("the volume has changed, or %v", err)
		}
	})
}

// A volume is one machine's that writes it, and nobody else's meanwhile.
func TestVolumeInUse(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, mode string) {
		name := newVolume(t, "1m")
		k := newTalk(t, runCommand(t, cases, in(mode, "-v", name+":/v"), "vol-end", "/v", "hold"))
		k.hears("open")
		for _, flags := range [][]string{
			{"-v", name + ":/v"}, {"-v", name + ":/v:ro"}, {"--rootfs-disk", name}, {"--disk", volumeFile(name)},
		} {
			got := run(t, cases, in(mode, flags...), "vol-end", "/v", "return")
			if oneLine(t, fmt.Sprint(flags), got, 125); !strings.Contains(got.stderr, "another pvrun uses it") {
				t.Errorf("%q: %q", flags, got.stderr)
			}
		}
		for _, args := range [][]string{{"rm", name}, {"fsck", name}, {"cp", name + ":/old", t.TempDir()}} {
			oneLine(t, fmt.Sprint(args), volumeRun(t, args...), 1)
		}
		if got := volumeRun(t, "ls"); !strings.Contains(got.stdout, name+" ") {
			t.Errorf("ls: %+v", got)
		}
		k.say("")
		if err := k.cmd.Wait(); err != nil {
			t.Error(err)
		}
		wants(t, run(t, cases, in(mode, "-v", name+":/v:ro"), "sums", "/v"), 0, ". drwxr-xr-x\nold -rw-r--r-- 3 3f5dd4e5\n", "")
	})
}

// The same volume twice on a command line, or one that is no volume, is one line and
// no machine.
func TestBadVolumes(t *testing.T) {
	t.Parallel()
	good := newVolume(t, "1m", "--from", write(t, map[string]string{"f": "text"}))
	image, err := os.ReadFile(volumeFile(good))
	if err != nil {
		t.Fatal(err)
	}
	// seal puts a superblock's checksum right again.
	seal := func(b []byte) { binary.LittleEndian.PutUint32(b[508:], vol.Checksum(b[:508])) }
	each := func(change func(b []byte)) func(b []byte) []byte {
		return func(b []byte) []byte {
			change(b[:vol.SuperSize])
			change(b[vol.BlockSize:][:vol.SuperSize])
			return b
		}
	}
	tests := []struct {
		name, want string
		damage     func(b []byte) []byte
	}{
		{"version", "version 2 ", each(func(b []byte) { b[8] = 2; seal(b) })},
		{"magic", "not a volume", each(func(b []byte) { b[0] = 'P'; seal(b) })},
		{"checksums", "checksum", each(func(b []byte) { b[100] ^= 1 })},
		{"one checksum", "checksum is wrong (fsck can repair it)", func(b []byte) []byte { b[100] ^= 1; return b }},
		{"fields", "contradict", each(func(b []byte) { binary.LittleEndian.PutUint64(b[40:], 1<<40); seal(b) })},
		{"cut short", "", func(b []byte) []byte { return b[:512<<10] }},
		{"nothing in it", "", func(b []byte) []byte { return b[:0] }},
		{"zeros", "not a volume", func(b []byte) []byte { clear(b); return b }},
		{"the inode file", "checksum is wrong (fsck can repair it)", func(b []byte) []byte { clear(b[4*vol.BlockSize:]); return b }},
	}
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			eachMode(t, func(t *testing.T, mode string) {
				name := fmt.Sprint("bad", i, mode)
				if err := os.WriteFile(volumeFile(name), test.damage(bytes.Clone(image)), 0o600); err != nil {
					t.Fatal(err)
				}
				for _, flags := range [][]string{{"-v", name + ":/v"}, {"--rootfs-disk", name}} {
					if test.name == "one checksum" && flags[0] != "-v" {
						continue // it can be read
					}
					got := run(t, cases, in(mode, flags...), "sums", "/v")
					if oneLine(t, flags[0], got, 125); !strings.Contains(got.stderr, test.want) {
						t.Errorf("%s: got %q, want %q in it", flags[0], got.stderr, test.want)
					}
				}
			})
		})
	}
	for _, flags := range [][]string{
		{"-v", "nosuch:/v"}, {"-v", good + ":/v", "-v", good + ":/w"}, {"--disk", "/nosuch/file"}, {"--disk", t.TempDir()},
	} {
		oneLine(t, fmt.Sprint(flags), run(t, cases, flags, "sums", "/v"), 125)
	}
}

// A root file system on a disk, which is larger than the machine's memory.
func TestRootfsDisk(t *testing.T) {
	t.Parallel()
	const files, size = 96, 1 << 20
	dir := t.TempDir()
	if err := os.Mkdir(dir+"/data", 0o755); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, size)
	for i := range files {
		for k := range b {
			b[k] = byte(k*k>>3 + i*k)
		}
		if err := os.WriteFile(fmt.Sprintf("%s/data/%02d", dir, i), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "root.vol")
	wants(t, volumeRun(t, "create", file, "--size", "128m", "--from", dir), 0, "", "")
	want := finish(t, nativeCommand(t, cases, "sums", dir+"/data")).stdout
	if strings.Count(want, "\n") != files+1 {
		t.Fatalf("native: %s", want)
	}
	const end = "open /new: read-only file system remove /data: read-only file system mkdir /data/x: read-only file system\ntext true true\n"
	eachMode(t, func(t *testing.T, mode string) {
		wants(t, run(t, cases, in(mode, "-m", "32m", "--rootfs-disk", file), "root-disk", "/data"), 0, want+end, "")
	})
	fsck(t, file)
}

// Disks and volumes beside each other are each what they are called.
func TestDisksAndVolumes(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, mode string) {
		a, b := diskImage(t), diskImage(t)
		v, w := newVolume(t, "8m", "--from", write(t, map[string]string{"f": strings.Repeat("on v", 1<<19)})), newVolume(t, "4m")
		if err := os.WriteFile(b, bytes.Repeat([]byte("the second disk "), diskSize/16), 0o644); err != nil {
			t.Fatal(err)
		}
		flags := in(mode, "--disk", a, "-v", w+":/w", "--disk", b, "-v", v+":/v")
		got := run(t, cases, flags, "disk-copy", "/dev/vdb", "/w/second", "/v/f", "/dev/vda", "/dev/vda", "/v/g")
		wants(t, got, 0, strings.Repeat("2097152 <nil>\n", 3), "")
		for _, test := range []struct{ file, want string }{{a, "on v"}, {b, "the second disk "}} {
			if got, err := os.ReadFile(test.file); err != nil || !strings.HasPrefix(string(got), strings.Repeat(test.want, 2<<20/len(test.want))) {
				t.Errorf("%s: got %q, %v, want %q", test.file, got[:32], err, test.want)
			}
		}
		out := t.TempDir()
		wants(t, volumeRun(t, "cp", w+":/second", out), 0, "", "")
		wants(t, volumeRun(t, "cp", v+":/g", out), 0, "", "")
		for name, want := range map[string]string{"second": "the second disk ", "g": "on v"} {
			if got, _ := os.ReadFile(filepath.Join(out, name)); string(got) != strings.Repeat(want, 2<<20/len(want)) {
				t.Errorf("%s: %d bytes", name, len(got))
			}
		}
	})
}

// A program that ends without having synced keeps what it wrote; one that dies,
// what it wrote a while before.
func TestVolumeEnds(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, mode string) {
		for how, code := range map[string]int{"return": 0, "exit": 7} {
			name := newVolume(t, "1m")
			wants(t, run(t, cases, in(mode, "-v", name+":/v"), "vol-end", "/v", how), code, "", "")
			hasFiles(t, name, "old")
		}
		name := newVolume(t, "1m")
		wants(t, run(t, cases, in(mode, "-v", name+":/v"), "vol-end", "/v", "signal"), 143, "", "")
		name = newVolume(t, "1m")
		begin := generation(t, name)
		k := newTalk(t, runCommand(t, cases, in(mode, "-v", name+":/v"), "vol-end", "/v", "fatal"))
		k.hears("written")
		for wait := time.Now(); generation(t, name) == begin; time.Sleep(50 * time.Millisecond) {
			if time.Since(wait) > time.Minute {
				t.Fatal("what was written is not on the volume after a minute")
			}
		}
		k.say("")
		k.cmd.Wait()
		if code := shellCode(k.cmd.ProcessState); code != 2 {
			t.Errorf("exit code of a panic: got %d, want 2", code)
		}
		fsck(t, name)
		if got := files(t, name); !slices.Contains(got, "old") {
			t.Errorf("got %v, want old and perhaps new", got)
		}
	})
}

// generation is how often a volume was committed.
func generation(t *testing.T, name string) (newest uint64) {
	t.Helper()
	b := make([]byte, 2*vol.BlockSize)
	f, err := os.Open(volumeFile(name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	for _, super := range [][]byte{b, b[vol.BlockSize:]} {
		newest = max(newest, binary.LittleEndian.Uint64(super[32:]))
	}
	return newest
}

// files are those of a volume's first folder.
func files(t *testing.T, name string) []string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "all")
	wants(t, volumeRun(t, "cp", name+":/", out), 0, "", "")
	list, err := os.ReadDir(out)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

func hasFiles(t *testing.T, name string, want ...string) {
	t.Helper()
	fsck(t, name)
	if got := files(t, name); !slices.Equal(got, want) {
		t.Errorf("%s has %q, want %q", name, got, want)
	}
}
