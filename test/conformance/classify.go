package main

import (
	"regexp"
	"slices"
	"strings"
)

// capability is what a test needs and a machine of pvrun does not have.
type capability string

const (
	needsExec   capability = "exec"
	unexplained capability = "unexplained"
)

// capabilities are those that exclusions.txt may name, with what they mean.
var capabilities = map[capability]string{
	needsExec:  "starts another process",
	"network":  "the host's network, or a protocol that the machine's does not have",
	"heap":     "a kernel that allocates nothing in the program's heap",
	"cpus":     "more than one CPU, or threads that run at the same time",
	"cgo":      "C code",
	"files":    "a file, device or file system of the host that the machine does not have",
	"proc":     "/proc or /sys",
	"memory":   "more memory than the machine was given",
	"syscall":  "a system call that the guest does not have",
	"signal":   "a signal from outside, a job control signal or a crash dump by one",
	"user":     "users and groups of the host",
	"terminal": "a terminal",
	"time":     "the machine to be as fast as the host",
	"bug":      "nothing: this is a bug of pvrun",
}

// certain are texts that only come of a missing capability.
var certain = []struct {
	text *regexp.Regexp
	capability
}{
	{regexp.MustCompile(`processes are not available in a pvrun unikernel|cannot exec subprocess|skipping test: 'go (run|build)' not available on |executable file not found in \$PATH`), needsExec},
	{regexp.MustCompile(`[Ss]kipping.* on (uniprocessor|1 processor machine)|GOMAXPROCS ?<?= ?1$|requires NumCPU >= \d|needs GOMAXPROCS >= \d`), "cpus"},
}

// explain finds the line of a test's output that says why it did not pass, and
// the capability where that line leaves no doubt.
func explain(s status, output string) (line string, c capability) {
	lines := strings.Split(output, "\n")
	for _, rule := range certain {
		if i := slices.IndexFunc(lines, rule.text.MatchString); i >= 0 {
			return lines[i], rule.capability
		}
	}
	if s == skip {
		return lastMatch(lines, located), unexplained
	}
	return telling(output), unexplained
}

var (
	// crash matches the line with which a program, or its machine, ends badly.
	crash = regexp.MustCompile(`(?m)^(panic: |fatal error: |runtime: |pvrun: |SIG[A-Z]+: |unexpected fault |signal: |\*\*\* Test killed|given up)`)
	// located matches what t.Log, t.Error and t.Skip write.
	located = regexp.MustCompile(`^\s*[^\s:]+\.(go|s):\d+: `)
	words   = regexp.MustCompile(`\S`)
)

// telling is the line of the texts that most likely says what went wrong: that
// of a crash, the first with a place in a source file, or just the first.
func telling(texts ...string) string {
	lines := strings.Split(strings.Join(texts, "\n"), "\n")
	for _, pattern := range []*regexp.Regexp{crash, located} {
		if i := slices.IndexFunc(lines, pattern.MatchString); i >= 0 {
			return withNext(lines, i)
		}
	}
	return firstLine(strings.Join(lines, "\n"))
}

func firstLine(text string) string {
	lines := strings.Split(text, "\n")
	if i := slices.IndexFunc(lines, words.MatchString); i >= 0 {
		return withNext(lines, i)
	}
	return ""
}

// lastMatch is the last line that matches, or else the first with words.
func lastMatch(lines []string, pattern *regexp.Regexp) string {
	for i := len(lines) - 1; i >= 0; i-- {
		if pattern.MatchString(lines[i]) {
			return withNext(lines, i)
		}
	}
	return firstLine(strings.Join(lines, "\n"))
}

// withNext is a line, and the next one where it ends in a colon.
func withNext(lines []string, i int) string {
	line := strings.TrimSpace(lines[i])
	if strings.HasSuffix(line, ":") && i+1 < len(lines) {
		line = strings.TrimSpace(line + " " + strings.TrimSpace(lines[i+1]))
	}
	return line
}
