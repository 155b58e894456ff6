package hv

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// TestStatsDocument compares the keys that are written with docs/stats.md, both
// ways.
func TestStatsDocument(t *testing.T) {
	page, err := os.ReadFile("../docs/stats.md")
	if err != nil {
		t.Fatal(err)
	}
	one := map[string]uint64{"x": 1}
	text, err := json.Marshal(Stats{
		KVM:   map[string][]uint64{"x": {1}},
		Proc:  map[string][]uint64{"x": {1}},
		Exits: ExitStats{ByReason: one, HandlerNS: one, Multicall: one},
	})
	if err != nil {
		t.Fatal(err)
	}
	written := keys(t, "", text)
	for _, key := range written {
		if !strings.Contains(string(page), "| `"+key+"` |") {
			t.Errorf("docs/stats.md does not tell of %s", key)
		}
	}
	table, _, _ := strings.Cut(string(page), "Reasons:")
	if rows := strings.Count(table, "\n| `"); rows != len(written) {
		t.Errorf("docs/stats.md has %d keys, %d are written: %v", rows, len(written), written)
	}
}

// keys are the paths of an object's values; tables keyed by names count as one.
func keys(t *testing.T, path string, object []byte) (list []string) {
	t.Helper()
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(object, &fields); err != nil {
		t.Fatal(err)
	}
	for name, value := range fields {
		key := path + name
		if value[0] != '{' || strings.Contains(string(value), `"x":`) && name != "exits" {
			list = append(list, key)
		} else {
			list = append(list, keys(t, key+".", value)...)
		}
	}
	return list
}
