package fs

// defaultEtc adds the files that Go's libraries read and the archive lacks.
func (fs *FS) defaultEtc() {
	dir := fs.makePath("etc")
	if dir == fs.root {
		return
	}
	host := fs.Hostname()
	for _, f := range [...]struct{ name, text string }{
		{"passwd", "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"},
		{"group", "root:x:0:\nnogroup:x:65534:\n"},
		{"hosts", "127.0.0.1\tlocalhost\n::1\tlocalhost\n127.0.1.1\t" + host + "\n"},
		{"hostname", host + "\n"},
		{"nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"},
	} {
		if old, e := dir.look(f.name, true); old != nil || e != 0 {
			continue
		}
		n := fs.newInode(devRoot, S_IFREG|0o644)
		n.data.base, n.data.size = []byte(f.text), int64(len(f.text))
		dir.cover(f.name, n)
	}
}
