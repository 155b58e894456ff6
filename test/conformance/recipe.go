package main

import (
	"go/build"
	"go/build/constraint"
	"slices"
	"strings"
)

// recipe is the first comment of a file of $GOROOT/test, which says what is to
// be done with it; cmd/internal/testdir describes the language.
type recipe struct {
	action string
	flags  []string // of the compiler, or of go build for run
	files  []string // further ones of the program
	args   []string // of the program
	env    []string // NAME=VALUE
	goMod  string   // version in go.mod
	single bool     // each file is a package
}

// runnable are the actions that build a program and run it. The others only
// compile, want errors of the compiler, or write the program first.
var runnable = []string{"run", "buildrun", "rundir", "runindir", "buildrundir"}

// parseRecipe reads the recipe of a file, unless its build constraints leave
// it out.
func parseRecipe(text string) (r recipe, ok bool) {
	header, _, _ := strings.Cut(text, "\npackage")
	for line := range strings.SplitSeq(header, "\n") {
		if expr, err := constraint.Parse(line); err == nil {
			if !expr.Eval(hasTag) {
				return r, false
			}
			continue
		}
		if r.action == "" {
			r.parse(quoted(strings.TrimPrefix(line, "//")))
		}
	}
	return r, r.action != ""
}

func hasTag(tag string) bool {
	return slices.Contains([]string{"linux", "amd64", "gc", "test_run"}, tag) ||
		slices.Contains(build.Default.ReleaseTags, tag) || slices.Contains(build.Default.ToolTags, tag)
}

func (r *recipe) parse(list []string) {
	if len(list) == 0 {
		return
	}
	r.action = list[0]
	for list = list[1:]; len(list) > 0 && strings.HasPrefix(list[0], "-"); list = list[1:] {
		value := ""
		if len(list) > 1 {
			value = list[1]
		}
		switch name := list[0]; name {
		case "-0", "-1":
			continue
		case "-s":
			r.single = true
			continue
		case "-t":
		case "-goexperiment":
			r.env = append(r.env, "GOEXPERIMENT="+value)
		case "-godebug":
			r.env = append(r.env, "GODEBUG="+value)
		case "-gomodversion":
			r.goMod = value
		case "-gcflags", "-ldflags", "-tags":
			r.flags = append(r.flags, name+"="+value)
		default:
			r.flags = append(r.flags, name)
			continue
		}
		list = list[min(1, len(list)-1):]
	}
	// As for go run, files come before arguments.
	n := slices.IndexFunc(list, func(s string) bool { return !strings.HasSuffix(s, ".go") })
	if n < 0 {
		n = len(list)
	}
	r.files, r.args = list[:n], list[n:]
}

// quoted splits text at white space that is not in quotes.
func quoted(text string) (list []string) {
	word, quote, within := "", rune(0), false
	for _, c := range text + " " {
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word += string(c)
		case c == '"' || c == '\'':
			quote, within = c, true
		case !strings.ContainsRune(" \t\r", c):
			word, within = word+string(c), true
		case within:
			list = append(list, word)
			word, within = "", false
		}
	}
	return list
}

// goFlags are the flags as GOFLAGS takes them. Those of rundir are the
// compiler's, for all packages of the program.
func (r *recipe) goFlags() string {
	list := []string{"-buildvcs=false"}
	var compiler []string
	for _, f := range r.flags {
		if r.action == "rundir" && !strings.HasPrefix(f, "-ldflags=") {
			compiler = append(compiler, f)
			continue
		}
		list = append(list, f)
	}
	if len(compiler) > 0 {
		list = append(list, "-gcflags=test/...="+strings.Join(compiler, " "))
	}
	for i, f := range list {
		if strings.Contains(f, " ") {
			list[i] = "'" + f + "'"
		}
	}
	return strings.Join(list, " ")
}
