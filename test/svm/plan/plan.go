// Package plan is what test/svm and the first process of its machine agree on.
package plan

// File is where the plan lies in the machine, as JSON.
const File = "/plan.json"

// Disk is where the machine has an empty file system.
const Disk = "/dev/nvme0n1"

// A line on the machine's second serial port begins with one of these.
const (
	Begin  = "@begin"  // and a suite's name
	Output = "|"       // and a line of a suite's output
	End    = "@end"    // and a suite's name, seconds, "ok" or an error
	Done   = "@done"   // all suites have run, whatever became of them
	Failed = "@failed" // and an error: the machine could not be set up
)

// Plan is what to do.
type Plan struct {
	Modules []string // files of the kernel's modules, in the order of loading
	Suites  []Suite
}

// Suite is one program.
type Suite struct {
	Name string
	Dir  string // to run in
	Args []string
	Env  []string
}
