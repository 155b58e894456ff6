package main

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
)

// databaseBenchmark is transactions, each synced, of a database in a folder of the
// host's. The same program works natively in another folder beside it.
type databaseBenchmark struct {
	name    string
	program string // of images/
	ops     int
}

var databaseBenchmarks = []databaseBenchmark{
	{"BoltTransaction", "kv", 2000},
	{"SQLiteTransaction", "sql", 2000},
}

// databaseSpeed is the least of native's.
const databaseSpeed = 0.6

func (s *suite) runDatabases(pattern *regexp.Regexp) error {
	for _, b := range databaseBenchmarks {
		if !pattern.MatchString(b.name) {
			continue
		}
		if err := s.buildImage(b.program); err != nil {
			return err
		}
		line := diskBenchmark{name: b.name, speed: databaseSpeed}
		if err := s.compareTimed(line, nil, 1, func() ([]string, []string, error) { return s.databases(b) }); err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
	}
	return nil
}

// databases begins with an empty folder for each side.
func (s *suite) databases(b databaseBenchmark) (native, guest []string, err error) {
	n := strconv.Itoa(b.ops)
	for _, dir := range []string{s.path("native"), s.path("guest")} {
		if err := os.RemoveAll(dir); err != nil {
			return nil, nil, err
		}
		if err := os.Mkdir(dir, 0o777); err != nil {
			return nil, nil, err
		}
	}
	native = []string{"env", "DATA=" + s.path("native/db"), s.path(b.program), "bench", n}
	guest = []string{"-v", s.path("guest") + ":/data", "-e", "DATA=/data/db", s.path(b.program + ".img"), "bench", n}
	return native, guest, nil
}
