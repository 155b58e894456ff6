package vol

import (
	"strings"
	"testing"

	"github.com/pvrun/pvrun/guest/fs"
)

// spoil changes a volume from the inside, as a fault in the code would, and
// commits that.
func spoil(t *testing.T, m *memory, f func(v *FS)) {
	t.Helper()
	v := mount(t, m, false)
	v.mu.Lock()
	f(v)
	e := v.commit()
	v.mu.Unlock()
	want(t, "spoil", e, 0)
}

// inodeAt finds an inode and has it written.
func inodeAt(v *FS, path string) *inode {
	s, _ := v.find(path)
	v.touch(s.n)
	return s.n
}

// rewriteEntry changes an entry of a folder behind the code's back.
func rewriteEntry(v *FS, path string, ino uint64, typ uint32) {
	s, _ := v.find(path)
	v.touch(s.in)
	v.redirect(s.in, s.name, ino, typ)
}

// damageBlock flips a bit of a block of a file.
func damageBlock(t *testing.T, m *memory, path string, level uint8, index uint64) {
	t.Helper()
	v := mount(t, m, true)
	s, _ := v.find(path)
	p, e := v.pointer(&s.n.tree, level, index)
	if e != 0 || p.block == 0 {
		t.Fatalf("%s has no block %d", path, index)
	}
	m.data[p.block*BlockSize+100] ^= 1
}

// TestCheck damages volumes: what is told, and what is left after the repair.
func TestCheck(t *testing.T) {
	for name, test := range map[string]struct {
		damage func(t *testing.T, m *memory)
		want   string // in the report
		left   string // "path text" of files that must be there then
	}{
		"data": {func(t *testing.T, m *memory) { damageBlock(t, m, "d/long", 0, 1) },
			"/d/long: bytes 4096 to 8191 are lost", "d/f=text"},
		"node": {func(t *testing.T, m *memory) { damageBlock(t, m, "d/long", 1, 0) },
			"/d/long: bytes 0 to 1048575 are lost", "d/f=text"},
		"folder": {func(t *testing.T, m *memory) { damageBlock(t, m, "d", 0, 0) },
			"no name leads to it", "lost+found/#5=text top=top"},
		"root folder": {func(t *testing.T, m *memory) { damageBlock(t, m, ".", 0, 0) },
			"no name leads to it", "lost+found/#2/f=text"},
		"superblock": {func(t *testing.T, m *memory) { m.data[int(mount(t, m, true).sb.generation%Supers)*BlockSize+50] ^= 1 },
			"superblock ", "top=top"},
		"bitmap": {func(_ *testing.T, m *memory) {
			m.data[firstBitmapBlock*BlockSize+99] ^= 1
			m.data[(firstBitmapBlock+1)*BlockSize+99] ^= 1
		}, "bitmap block 0: neither slot", "top=top d/f=text"},
		"leak": {func(t *testing.T, m *memory) { spoil(t, m, func(v *FS) { inodeAt(v, "top"); v.alloc() }) },
			"marked as used and are not", "top=top"},
		"not marked": {func(t *testing.T, m *memory) {
			spoil(t, m, func(v *FS) {
				v.space.used.unset(inodeAt(v, "d/f").root.block)
				v.space.usedCount--
				v.space.touch(0)
			})
		}, "used and not marked so", "d/f=text"},
		"links": {func(t *testing.T, m *memory) { spoil(t, m, func(v *FS) { inodeAt(v, "top").nlink = 7 }) },
			"says 7 links and has 1", "top=top"},
		"folder's links": {func(t *testing.T, m *memory) { spoil(t, m, func(v *FS) { inodeAt(v, "d").nlink = 9 }) },
			"says 9 links and has 2", "top=top"},
		"no inode": {func(t *testing.T, m *memory) { spoil(t, m, func(v *FS) { rewriteEntry(v, "top", 15, fs.S_IFREG) }) },
			"there is no inode 15", "d/f=text lost+found/#3=top"},
		"wrong type": {func(t *testing.T, m *memory) { spoil(t, m, func(v *FS) { rewriteEntry(v, "top", 3, fs.S_IFLNK) }) },
			"not of the type", "top=top"},
		"folder twice": {func(t *testing.T, m *memory) { spoil(t, m, func(v *FS) { rewriteEntry(v, "top", 2, fs.S_IFDIR) }) },
			"has another name already", "d/f=text lost+found/#3=top"},
		"folder in itself": {func(t *testing.T, m *memory) { spoil(t, m, func(v *FS) { rewriteEntry(v, "d/f", 2, fs.S_IFDIR) }) },
			"has another name already", "lost+found/#5=text"},
		"block twice": {func(t *testing.T, m *memory) {
			spoil(t, m, func(v *FS) { inodeAt(v, "top").root = inodeAt(v, "d/f").root })
		}, "is used twice", "d/long="},
		"mode": {func(t *testing.T, m *memory) { spoil(t, m, func(v *FS) { inodeAt(v, "top").mode = fs.S_IFCHR }) },
			"its fields make no sense", "d/f=text"},
		"height": {func(t *testing.T, m *memory) { spoil(t, m, func(v *FS) { inodeAt(v, "d").height = 9 }) },
			"its fields make no sense", "lost+found/#5=text"},
		"counts": {func(t *testing.T, m *memory) { spoil(t, m, func(v *FS) { inodeAt(v, "top"); v.sb.freeInodes = 2 }) },
			"the superblock's counts", "top=top"},
	} {
		t.Run(name, func(t *testing.T) {
			v, m := fresh(t, 1<<20)
			v.Mkdir("d", 0o755)
			writeFile(v, "top", "top", 0, fs.O_CREAT)
			writeFile(v, "d/long", strings.Repeat("x", 20_000), 0, fs.O_CREAT)
			writeFile(v, "d/f", "text", 0, fs.O_CREAT)
			want(t, "sync", syncAll(v), 0)
			writeFile(v, "top", "top", 0, 0)
			want(t, "sync", syncAll(v), 0)
			test.damage(t, m)
			repairs(t, m, test.want, test.left)
		})
	}
}

func repairs(t *testing.T, m *memory, report, left string) {
	t.Helper()
	before := string(m.data)
	r, lines, err := check(m, false)
	if err != nil || r.Damage == 0 || string(m.data) != before {
		t.Fatalf("%+v, %v, %q", r, err, lines)
	}
	r, lines, err = check(m, true)
	if all := strings.Join(lines, "\n"); err != nil || !r.Repaired || !strings.Contains(all, report) {
		t.Errorf("%+v, %v, want %q in\n%s", r, err, report, all)
	}
	clean(t, m)
	v := mount(t, m, false)
	for _, f := range strings.Fields(left) {
		path, text, _ := strings.Cut(f, "=")
		if got, e := readFile(v, path); e != 0 || text != "" && got != text {
			t.Errorf("%s: errno %d, %q, want %q\n%s", path, e, got, text, dump(v))
		}
	}
	want(t, "write", writeFile(v, "new", "text", 0, fs.O_CREAT), 0)
	want(t, "sync", syncAll(v), 0)
	clean(t, m)
}
