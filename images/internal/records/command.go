package records

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

// Main opens the database that DATA names, or /data/NAME, and does what the
// program's arguments say.
func Main(name string, open func(path string) (Store, error)) {
	err := run(cmp.Or(os.Getenv("DATA"), "/data/"+name), open, os.Args[1:])
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}

const usage = `what to do is one of
  load FILE|FOLDER|-  keep every line of text as a record FILE:LINE
  get KEY             print a record
  find PREFIX         print the records whose keys begin so
  count               count the records
  verify              check all of the database
  write N             commit N transactions, or without end for 0, and say so
  bench N             commit N transactions and say how long that took
  query SQL           ask, where the database understands`

func run(path string, open func(string) (Store, error), args []string) (err error) {
	var argument string
	switch {
	case len(args) == 2:
		argument = args[1]
	case len(args) != 1 || args[0] != "count" && args[0] != "verify":
		return errors.New(usage)
	}
	s, err := open(path)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	out := bufio.NewWriter(os.Stdout)
	defer func() { err = errors.Join(err, out.Flush()) }()
	return do(s, args[0], argument, out)
}

func do(s Store, command, argument string, out *bufio.Writer) error {
	switch command {
	case "load":
		n, err := load(s, argument)
		fmt.Fprintf(out, "%d records loaded\n", n)
		return err
	case "get":
		value, err := get(s, argument)
		if err == nil {
			fmt.Fprintln(out, value)
		}
		return err
	case "find":
		return s.Scan(argument, func(key string, sealed []byte) error {
			value, err := unseal(key, sealed)
			fmt.Fprintf(out, "%s\t%s\n", key, value)
			return err
		})
	case "count":
		n := 0
		err := s.Scan("", func(string, []byte) error { n++; return nil })
		fmt.Fprintln(out, n)
		return err
	case "verify":
		return verify(s, out)
	case "query":
		return query(s, argument, out)
	case "write", "bench":
		return commit(s, command, argument, out)
	}
	return errors.New(usage)
}

// asked is a database with a language of its own.
type asked interface {
	Query(text string, row func(columns []string) error) error
}

func query(s Store, text string, out io.Writer) error {
	a, ok := s.(asked)
	if !ok {
		return errors.New("query: this database has no language")
	}
	return a.Query(text, func(columns []string) error {
		_, err := fmt.Fprintln(out, strings.Join(columns, "\t"))
		return err
	})
}

// commit commits transactions. Each line that acknowledges one leaves at once.
func commit(s Store, command, argument string, out *bufio.Writer) error {
	n, err := strconv.Atoi(argument)
	if err != nil || n < 0 {
		return fmt.Errorf("%s %s: want a number of transactions", command, argument)
	}
	l, err := newLedger(s)
	if err != nil {
		return err
	}
	start := time.Now()
	for i := 0; i < n || n == 0; i++ {
		if err := l.commit(s); err != nil {
			return err
		}
		if command == "write" {
			fmt.Fprintf(out, "committed %d\n", l.last)
			if err := out.Flush(); err != nil {
				return err
			}
		}
	}
	if command == "bench" {
		fmt.Fprintf(out, "ops=%d ns=%d\n", n, time.Since(start).Nanoseconds())
	}
	return nil
}
