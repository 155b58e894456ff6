package compare

import "testing"

func TestNumbers(t *testing.T) {
	for _, test := range []struct {
		text func(float64) string
		v    float64
		want string
	}{
		{number, 0, "0"}, {number, 1, "1"}, {number, 0.5004, "0.5"}, {number, 1.005, "1"}, {number, 2.3456, "2.35"}, {number, 12.34, "12.3"},
		{number, 99.96, "100"}, {number, 1234.5, "1,235"}, {number, 1234567, "1,234,567"}, {number, -1234, "-1,234"}, {number, -0.0001, "0"},
		{number, 100, "100"}, {number, 999999, "999,999"}, {number, 9.996, "10"}, {number, 0.9996, "1"},
		{ExitsText, 0, "0"}, {ExitsText, 0.009, "<0.01"}, {ExitsText, -0.009, "<0.01"}, {ExitsText, 0.01, "0.01"}, {ExitsText, 12, "12"},
		{TimeText, 0, "0 ns"}, {TimeText, 42, "42 ns"}, {TimeText, 999.6, "1 µs"}, {TimeText, 43149, "43.1 µs"}, {TimeText, 1.1427e6, "1.14 ms"},
		{TimeText, 999.6e6, "1 s"}, {TimeText, 2.5e9, "2.5 s"}, {TimeText, -43149, "-43.1 µs"},
	} {
		if got := test.text(test.v); got != test.want {
			t.Errorf("%v: got %q, want %q", test.v, got, test.want)
		}
	}
}

func TestBenchName(t *testing.T) {
	for name, want := range map[string]string{
		"boot": "Boot", "paging-4k": "Paging4k", "my image-2": "MyImage2", "": "Image", "é": "Image", "x/y": "XY",
	} {
		if got := BenchName(name); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

func TestShort(t *testing.T) {
	for name, want := range map[string]string{"paging-4k": "paging-4k", "fourteen-bytes": "fourteen-bytes", "ééééééééééééééé": "ééééééééééééé…"} {
		if got := short(name); got != want {
			t.Errorf("%s: got %s", name, got)
		}
	}
}
