package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/pvrun/pvrun/build"
	"github.com/pvrun/pvrun/internal/sensitive"
)

const sensitiveHelp = `With --sensitive, show what a virtual CPU has to see instead: the privileged
instructions, those that are sensitive and do not trap, SYSCALL, and others
that tell what machine this is; with the modes that are meant to execute each
one, and why it may be there:

  guest    the guest library; its files native* are for trap mode only
  preempt  PUSHFQ and POPFQ in runtime.asyncPreempt
  crash    the INT 3 by which the runtime ends itself
  syscall  a SYSCALL in assembly that is not the runtime's
  data     bytes that crypto/internal/boring/sig jumps over
  any      CPUID, RDTSC and the like

Bytes that look like such an instruction and are part of another one are
counted. --strict fails when an instruction has no such reason, or when there is
code that cannot be decoded.`

// sensitiveFlags are those that go with --sensitive.
type sensitiveFlags struct{ on, strict, verbose bool }

func (f *sensitiveFlags) register(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.on, "sensitive", false, "show the instructions that a virtual CPU has to see")
	cmd.Flags().BoolVar(&f.strict, "strict", false, "with --sensitive: fail when one has no known reason")
	cmd.Flags().BoolVarP(&f.verbose, "verbose", "v", false, "with --sensitive: list bytes that are part of other instructions")
}

func (f *sensitiveFlags) check(cmd *cobra.Command) error {
	if !f.on && (f.strict || f.verbose) {
		return usageError{cmd.CommandPath(), errors.New("--strict and --verbose go with --sensitive")}
	}
	return nil
}

func (f *sensitiveFlags) inspect(w io.Writer, name string, output outputFormat) error {
	info, err := build.InspectSensitive(name)
	if err != nil {
		return err
	}
	if output == formatJSON {
		err = writeJSON(w, info)
	} else {
		err = writeSensitive(w, info, f.verbose)
	}
	if n := info.Outside(); err == nil && f.strict && n > 0 {
		return fmt.Errorf("inspect %s: %s", name, outsideText(n))
	}
	return err
}

func outsideText(n int) string {
	if n == 1 {
		return "1 sensitive instruction, or place that is not decoded, without a known reason"
	}
	return fmt.Sprintf("%d sensitive instructions, or places that are not decoded, without a known reason", n)
}

var classTitles = []struct {
	class sensitive.Class
	title string
}{
	{sensitive.Privileged, "Privileged"},
	{sensitive.Unprivileged, "Sensitive, but unprivileged"},
	{sensitive.Syscall, "System calls"},
	{sensitive.Other, "Others"},
}

func writeSensitive(w io.Writer, info build.SensitiveInfo, verbose bool) error {
	s := &sections{w: tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	for _, c := range classTitles {
		s.sites(c.class, c.title, info.Sites)
	}
	s.onlyBytes(info.Bytes, verbose)
	if len(info.Undecoded) > 0 {
		s.title("Not decoded", "ADDR", "FUNCTION", "SOURCE")
	}
	for _, p := range info.Undecoded {
		s.row(p.Addr, quoted(p.Func), source(p))
	}
	return s.w.Flush()
}

func (s *sections) sites(class sensitive.Class, title string, list []build.SensitiveSite) {
	n := 0
	for _, site := range list {
		if site.Class != class {
			continue
		}
		if n++; n == 1 {
			s.title(title, "ADDR", "INSTRUCTION", "MODES", "REASON", "FUNCTION", "SOURCE")
		}
		s.row(site.Addr, site.Name, orNone(strings.Join(site.Modes, ",")), orNone(string(site.Door)), quoted(site.Func), source(site.Place))
	}
	if n == 0 {
		s.title(title)
		s.row("none")
	}
}

// onlyBytes sums up a class in a line, or shows every place of it.
func (s *sections) onlyBytes(list []build.SensitiveBytes, verbose bool) {
	s.title("Only in the byte scan, part of other instructions")
	for _, c := range classTitles {
		n := 0
		for _, b := range list {
			if b.Class == c.class {
				n += b.Count
			}
		}
		s.row(c.class.String(), fmt.Sprint(n))
	}
	if !verbose {
		return
	}
	s.title("Where", "INSTRUCTION", "ADDR")
	for _, b := range list {
		for _, addr := range b.Addrs {
			s.row(b.Name, addr)
		}
		if more := b.Count - len(b.Addrs); more > 0 {
			s.row(b.Name, fmt.Sprintf("and %d more", more))
		}
	}
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func source(p build.Place) string {
	if p.File == "" {
		return ""
	}
	return quoted(fmt.Sprintf("%s:%d", p.File, p.Line))
}
