package build

import "testing"

func TestWithTag(t *testing.T) {
	for tags, want := range map[string]string{
		"": "pvrun", "a": "pvrun,a", "a,b": "pvrun,a,b", "a b": "pvrun,a,b", "'a' 'b'": "pvrun,a,b",
	} {
		if got := WithTag(tags); got != want {
			t.Errorf("%q: got %q, want %q", tags, got, want)
		}
	}
}

func TestFlagsWithTag(t *testing.T) {
	for flags, want := range map[string]string{
		"":                        "-tags=pvrun",
		"-mod=mod":                "-mod=mod -tags=pvrun",
		"-tags=a -v":              "-tags=a -v -tags=pvrun,a",
		"-tags=a --tags=b,c":      "-tags=a --tags=b,c -tags=pvrun,b,c",
		`'-tags=a b' -x`:          `'-tags=a b' -x -tags=pvrun,a,b`,
		`"-ldflags=-X a.b=-tags"`: `"-ldflags=-X a.b=-tags" -tags=pvrun`,
	} {
		if got := flagsWithTag(flags); got != want {
			t.Errorf("%q: got %q, want %q", flags, got, want)
		}
	}
}

// A program knows what it is built for, with tags of its own or without.
func TestTag(t *testing.T) {
	dir := writeFiles(t, hello(map[string]string{
		"main.go":  "package main\n\nfunc main() { println(here, special) }\n",
		"here.go":  "//go:build pvrun\n\npackage main\n\nconst here = true\n",
		"there.go": "//go:build !pvrun\n\npackage main\n\nconst here = false\n",
		"on.go":    "//go:build special\n\npackage main\n\nconst special = true\n",
		"off.go":   "//go:build !special\n\npackage main\n\nconst special = false\n",
	}))
	for _, test := range []struct{ tags, flags, want string }{
		{"", "", "true false\n"},
		{"special", "", "true true\n"},
		{"", "-tags=special", "true true\n"},
		{"other", "-tags=special", "true false\n"},
	} {
		cfg := testConfig(t, dir)
		cfg.Tags = test.tags
		cfg.Env = append(cfg.Env, "GOFLAGS="+test.flags)
		if got := execute(t, mustBuild(t, cfg).Image); got != test.want {
			t.Errorf("%+v: got %q", test, got)
		}
	}
}
