package main

import (
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/pvrun/pvrun/hv"
)

// TestClones: which network machines of a snapshot are on.
func TestClones(t *testing.T) {
	for _, test := range []struct {
		args []string
		nics int
		want string // the network, or the error
	}{
		{nil, 0, "none"},
		{[]string{"--net", "none"}, 0, "none"},
		{[]string{"--net", "user"}, 0, "--net, -p: the snapshot has no network: make it with --net"},
		{[]string{"-p", "1:1"}, 0, "--net, -p: the snapshot has no network"},
		{nil, 1, "user"},
		{[]string{"--net", "none"}, 1, "none"},
		{[]string{"--net", "user:web"}, 1, "user:web"},
		{[]string{"--net", "tap:a", "--ip", "10.0.0.2/24"}, 1, "tap:a"},
		{[]string{"--net", "sky"}, 1, "--net sky: must be user"},
		{[]string{"--ip", "10.0.0.2/24"}, 1, "--ip, --gateway and --dns are for tap and bridge"},
		{nil, 2, "the snapshot has 2 network interfaces: pvrun connects one"},
	} {
		var n netFlags
		f := pflag.NewFlagSet("", pflag.ContinueOnError)
		n.addFlags(f, "p", "none")
		if err := f.Parse(test.args); err != nil {
			t.Fatal(err)
		}
		k, err := n.clones(hv.SnapshotInfo{NICs: test.nics}, func(error) {})
		got := "none"
		switch {
		case err != nil:
			got = err.Error()
		case k != nil:
			got = k.config.Target.String()
		}
		if !strings.HasPrefix(got, test.want) {
			t.Errorf("%q with %d: %s, want %s", test.args, test.nics, got, test.want)
		}
		if k.shared(); k != nil && got == "user" && !strings.HasPrefix(k.config.Name, "pvrun-") {
			t.Errorf("%d machines would have a network each", 2)
		}
	}
}
