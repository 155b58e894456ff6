package fs

import (
	"strconv"
	"strings"
	"sync"
)

// taskDir is /proc/self/task, a folder for each live thread. Nothing in it can
// be changed.
type taskDir struct {
	fixedDir
	fs   *FS
	self *inode

	mu    sync.Mutex
	known map[int]*inode // of threads that lived; numbers are given out again
}

func (d *taskDir) list(*file) (list []record, e Errno) {
	for id := 1; ; id++ {
		t, found := d.fs.nextThread(id)
		if !found {
			return list, 0
		}
		id = t.ID
		list = append(list, record{name: strconv.Itoa(id), ino: d.of(id).ino, typ: direntType(S_IFDIR)})
	}
}

func (d *taskDir) open(name string, _ *opening) (*inode, Errno) { return d.lookup(name, true) }

func (d *taskDir) lookup(name string, _ bool) (*inode, Errno) {
	id, err := strconv.Atoi(name)
	if err != nil || strconv.Itoa(id) != name {
		return nil, 0
	}
	if t, found := d.fs.nextThread(id); !found || t.ID != id {
		return nil, 0
	}
	return d.of(id), 0
}

// of is the folder of a thread.
func (d *taskDir) of(id int) *inode {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.known[id]
	if n == nil {
		n = d.fs.newDir(devProc, 0o555)
		n.dir.parent, n.dir.name = d.self, strconv.Itoa(id)
		d.fs.procSelf(n, id)
		d.known[id] = n
	}
	return n
}

// nextThread is the first live thread whose number is id or above.
func (fs *FS) nextThread(id int) (Thread, bool) {
	if fs.host.NextThread != nil {
		return fs.host.NextThread(id)
	}
	return Thread{ID: fs.host.PID, Live: 1, Name: fs.comm()}, id <= fs.host.PID
}

// thread is a thread's properties; of one that is gone none.
func (fs *FS) thread(id int) Thread {
	if t, found := fs.nextThread(id); found && t.ID == id {
		return t
	}
	return Thread{ID: id}
}

// threadSelf is what /proc/thread-self leads to.
func threadSelf(fs *FS) string {
	pid := fs.host.PID
	id := pid
	if fs.host.ThreadID != nil {
		id = fs.host.ThreadID()
	}
	return strconv.Itoa(pid) + "/task/" + strconv.Itoa(id)
}

// procStatus is Linux's fs/proc/array.c, proc_pid_status, as far as there is
// something to tell.
func procStatus(fs *FS, id int) string {
	t := fs.thread(id)
	mask := strconv.FormatUint(uint64(fs.mask.Load()), 8)
	kb := strconv.FormatUint(fs.host.MemBytes>>10, 10) + " kB"
	var b strings.Builder
	for _, row := range [...][2]string{
		{"Name", t.Name},
		{"Umask", strings.Repeat("0", 4-len(mask)) + mask},
		{"State", "R (running)"},
		{"Tgid", strconv.Itoa(fs.host.PID)},
		{"Pid", strconv.Itoa(id)},
		{"PPid", "0"},
		{"TracerPid", "0"},
		{"Uid", tabbed(t.UID)},
		{"Gid", tabbed(t.GID)},
		{"FDSize", "64"},
		{"Groups", spaced(t.Groups)},
		{"VmSize", kb},
		{"VmRSS", kb},
		{"Threads", strconv.Itoa(t.Live)},
		{"CapInh", hex(t.CapInh, 16)},
		{"CapPrm", hex(t.CapPrm, 16)},
		{"CapEff", hex(t.CapEff, 16)},
		{"CapBnd", hex(t.CapBnd, 16)},
		{"CapAmb", hex(0, 16)},
		{"NoNewPrivs", "0"},
		{"Seccomp", "0"},
	} {
		b.WriteString(row[0] + ":\t" + row[1] + "\n")
	}
	return b.String()
}

func tabbed(ids [4]uint32) string {
	s := ""
	for i, id := range ids {
		if i > 0 {
			s += "\t"
		}
		s += strconv.FormatUint(uint64(id), 10)
	}
	return s
}

// spaced is a space behind each group.
func spaced(groups []uint32) string {
	s := ""
	for _, id := range groups {
		s += strconv.FormatUint(uint64(id), 10) + " "
	}
	if s == "" {
		s = " "
	}
	return s
}

func procSelfStat(fs *FS, id int) string {
	t := fs.thread(id)
	pid := strconv.Itoa(fs.host.PID)
	ticks := strconv.FormatInt(fs.host.Mono()/1e7, 10)
	mem := strconv.FormatUint(fs.host.MemBytes, 10)
	// The fields are those of proc_pid_stat(5): 14 is utime, 20 the threads,
	// 23 vsize, 24 rss.
	return strconv.Itoa(id) + " (" + t.Name + ") R 0 " + pid + " " + pid + " 0 -1 0 0 0 0 0 " + ticks +
		" 0 0 0 20 0 " + strconv.Itoa(t.Live) + " 0 0 " + mem + " " + strconv.FormatUint(fs.host.MemBytes/pageSize, 10) +
		strings.Repeat(" 0", 28) + "\n"
}
