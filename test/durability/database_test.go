package durability

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pvrun/pvrun/internal/need"
)

// database is one of images/ on a folder of the host's, or on a volume.
type database struct {
	t     *testing.T
	name  string
	dir   string   // "" on a volume
	flags []string // of pvrun
	// after looks at what lies under the database when a machine was ended.
	after func()
}

func inFolder(t *testing.T, name string) *database {
	t.Helper()
	need.KVM(t)
	d := &database{t: t, name: name, dir: t.TempDir(), after: func() {}}
	d.flags = []string{"-v", d.dir + ":/data", "-v", texts() + ":/texts:ro"}
	return d
}

// onVolume makes a volume, which after each end has to be whole for its own check.
func onVolume(t *testing.T, name string) *database {
	t.Helper()
	need.KVM(t)
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	volume := "killed-" + name
	output(t, exec.Command(pvrun, "volume", "create", volume, "--size", "1g"))
	t.Cleanup(func() { exec.Command(pvrun, "volume", "rm", volume).Run() })
	return &database{
		t: t, name: name,
		flags: []string{"-v", volume + ":/data", "-v", texts() + ":/texts:ro"},
		after: func() { output(t, exec.Command(pvrun, "volume", "fsck", volume)) },
	}
}

// texts is a folder with some ten thousand lines of text.
var texts = sync.OnceValue(func() string {
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		panic(err)
	}
	return filepath.Join(strings.TrimSpace(string(goroot)), "src", "net", "http")
})

func (d *database) here(args ...string) *exec.Cmd {
	d.t.Helper()
	return machine(d.t, d.name, d.flags, args...)
}

func (d *database) native(args ...string) *exec.Cmd {
	d.t.Helper()
	cmd := exec.Command(built(d.t, programs[d.name].native), args...)
	cmd.Env = append(os.Environ(), "DATA="+filepath.Join(d.dir, d.name))
	return cmd
}

// verify is how many records and transactions a database has that is whole.
func (d *database) verify(cmd *exec.Cmd) (records, transactions uint64) {
	d.t.Helper()
	text := output(d.t, cmd)
	if _, err := fmt.Sscanf(text, "%d records, %d transactions\n", &records, &transactions); err != nil {
		d.t.Fatalf("verify: %q: %v", text, err)
	}
	return records, transactions
}

func output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var stderr strings.Builder
	cmd.Stderr = &stderr
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s%s", cmd.Args, err, text, stderr.String())
	}
	return string(text)
}

// A database that its machine was ended under has every transaction that it had
// acknowledged, and at most one more; it goes on in the next machine, and natively.
func TestKilledDatabase(t *testing.T) {
	for _, name := range strings.Split(*databases, ",") {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inFolder(t, name).kills()
		})
	}
}

// So does one on a volume, which only machines can read.
func TestKilledOnVolume(t *testing.T) {
	for _, name := range strings.Split(*databases, ",") {
		t.Run(name, func(t *testing.T) { onVolume(t, name).kills() })
	}
}

func (d *database) kills() {
	d.t.Helper()
	d.t.Logf("seed %d", *seed)
	rng := rand.New(rand.NewPCG(*seed, 1))
	var last uint64
	for n := range *kills {
		if last = d.kill(rng, n, last); d.t.Failed() {
			d.t.Fatalf("after %d of %d", n+1, *kills)
		}
	}
	d.t.Logf("ended %d times, %d transactions", *kills, last)
}

// kill ends a machine once and returns how many transactions there are then.
func (d *database) kill(rng *rand.Rand, n int, last uint64) uint64 {
	d.t.Helper()
	acked := last
	if n%8 == 7 {
		end(d.t, d.here("load", "/texts"), moment{after: time.Duration(rng.IntN(500)) * time.Millisecond}, false, func(string) {})
	} else {
		end(d.t, d.here("write", "0"), moments(rng), true, func(line string) {
			acked++
			if want := fmt.Sprintf("committed %d", acked); line != want {
				d.t.Errorf("got %q, want %q", line, want)
			}
		})
	}
	d.after()
	second := d.here
	if d.dir != "" && n%2 == 1 {
		second = d.native
	}
	_, got := d.verify(second("verify"))
	if got != acked && got != acked+1 {
		d.t.Errorf("got %d transactions, %d acknowledged", got, acked)
	}
	if n%4 == 1 {
		output(d.t, second("write", "3"))
		got += 3
	}
	return got
}

// What is made in a machine is read natively, and the other way round.
func TestBothWays(t *testing.T) {
	for _, name := range strings.Split(*databases, ",") {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := inFolder(t, name)
			loaded := output(t, d.here("load", "/texts"))
			output(t, d.native("write", "5"))
			output(t, d.here("write", "1200"))
			records, transactions := d.verify(d.native("verify"))
			// The counter, the last 1,000 entries and 64 accounts.
			if want := fmt.Sprintf("%d records loaded\n", records-1-1000-64); transactions != 1205 || loaded != want {
				t.Errorf("got %d records, %d transactions, and %q", records, transactions, loaded)
			}
			const key = "texts/server.go:7"
			if got, want := output(t, d.here("get", key)), output(t, d.native("get", key)); got != want || want == "" {
				t.Errorf("%s: got %q, want %q", key, got, want)
			}
			if got, want := output(t, d.here("find", "!account")), output(t, d.native("find", "!account")); got != want {
				t.Errorf("accounts: got %q, want %q", got, want)
			}
		})
	}
}

// A record that is missing, changed or too many is noticed; SQL makes them.
func TestVerifyNotices(t *testing.T) {
	if !strings.Contains(*databases, "sql") {
		t.Skip("sql is not among -databases")
	}
	for damage, want := range map[string]string{
		"UPDATE records SET value = value || 'x' WHERE key = '!last'":                                   "checksum",
		"UPDATE records SET key = '!entry 000000000001' WHERE key = '!entry 000000001100'":              "checksum",
		"DELETE FROM records WHERE key = '!entry 000000000500'":                                         "missing",
		"DELETE FROM records WHERE key = '!last'":                                                       "is no part of the first 0 transactions",
		"INSERT INTO records SELECT '!entry 000000001101', value, sum FROM records WHERE key = '!last'": "checksum",
	} {
		d := inFolder(t, "sql")
		output(t, d.native("write", "1100"))
		output(t, d.native("query", damage))
		text, err := d.native("verify").CombinedOutput()
		if err == nil || !strings.Contains(string(text), want) {
			t.Errorf("%s: got %v, %s, want %q", damage, err, text, want)
		}
	}
}
