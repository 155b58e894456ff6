package main

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// trial is a program being built and run on one side.
type trial struct {
	*lab
	program
	side
	limit time.Duration
}

// mostOutput is how much output of a program is compared.
const mostOutput = 1 << 20

func (t *trial) run(ctx context.Context) (*result, error) {
	home := filepath.Join(t.out, "goroot")
	if err := os.MkdirAll(home, 0o777); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(home, "work-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	defer t.prune(time.Now().Add(-2 * buildTime))
	sources := filepath.Join(dir, "src")
	if err := os.Mkdir(sources, 0o777); err != nil {
		return nil, err
	}
	target, err := t.place(sources)
	if err != nil {
		return nil, err
	}
	if strings.HasSuffix(target[0], ".go") {
		sources = t.module()
	}
	res := newResult()
	res.Rounds = 1
	binary := filepath.Join(dir, "program.img")
	built, err := t.command(sources, buildTime, append(t.buildArgs(binary), target...)...).run(ctx, nil)
	if err != nil {
		return nil, err
	}
	if built.code != 0 {
		why := "is not built: " + firstLine(withoutComments(built.stderr))
		res.Other[path.Base(t.program.file)] = verdict{Status: fail, Output: why}
		return res, nil
	}
	return res, t.execute(ctx, binary, res)
}

// prune removes from pvrun's cache the programs that were built before. None of
// them is built twice.
func (l *lab) prune(before time.Time) {
	list, _ := filepath.Glob(filepath.Join(l.cache(), "pvrun", "link", "*"))
	for _, dir := range list {
		if info, err := os.Stat(dir); err == nil && info.ModTime().Before(before) {
			os.RemoveAll(dir)
		}
	}
}

func (t *trial) buildArgs(out string) []string {
	if t.side == here {
		return []string{t.pvrun, "build", "-o", out}
	}
	return []string{"go", "build", "-o", out}
}

// command is one with this program's flags and environment.
func (t *trial) command(dir string, limit time.Duration, args ...string) command {
	env := slices.Concat(t.environment(t.side), t.env, []string{"GOFLAGS=" + t.goFlags()})
	return command{dir: dir, env: env, args: args, limit: limit}
}

// execute runs the built program and judges it.
func (t *trial) execute(ctx context.Context, binary string, res *result) error {
	want, err := t.wanted()
	if err != nil {
		return err
	}
	args := []string{binary}
	if t.side == here {
		args = slices.Concat([]string{t.pvrun, "run"}, t.vm, t.placeFlags(), args)
	}
	out := clipped{most: mostOutput}
	c := t.command(t.root, t.limit, append(args, t.args...)...)
	c.merge = true
	begin := time.Now()
	end, err := c.run(ctx, func(line []byte) { out.add(string(line)) })
	if err != nil {
		return err
	}
	res.Seconds = time.Since(begin).Seconds()
	name := path.Base(t.program.file)
	if why := judgeProgram(end, out.text, want); why != "" {
		res.Other[name] = verdict{Status: fail, Output: clip(why)}
	} else {
		res.Passed = []string{name}
	}
	return nil
}

// placeFlags let a program in the machine find GOROOT, as pvrun test does, and
// hand it what it has natively beyond the usual.
func (t *trial) placeFlags() []string {
	flags := []string{"--volume=" + t.goroot + "::ro", "-w=" + t.root, "-e=GOROOT=" + t.goroot}
	for _, kv := range t.env {
		flags = append(flags, "-e="+kv)
	}
	return flags
}

// judgeProgram says what is wrong with what a program did; nothing if it is
// right.
func judgeProgram(end ending, got, want string) string {
	switch {
	case end.expired:
		return end.stderr + got
	case end.code != 0:
		return fmt.Sprintf("exit code %d:\n%s", end.code, got)
	case got != want:
		return differ(got, want) + "\n" + got
	}
	return ""
}

// differ names the first line in which texts differ.
func differ(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	i := 0
	for i < len(g)-1 && i < len(w)-1 && g[i] == w[i] {
		i++
	}
	return fmt.Sprintf("line %d of its output: got %q, want %q", i+1, g[i], w[i])
}

func clip(text string) string {
	c := clipped{most: keepOutput}
	c.add(text)
	return c.text
}
