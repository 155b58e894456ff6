package fs

import "testing"

// TestResolver has the name servers become known after the start.
func TestResolver(t *testing.T) {
	h := &fakeHost{known: map[int32]bool{}, events: map[int32]uint32{}}
	host := h.host()
	host.Address, host.DNS, host.Search = "10.0.0.2", []string{"10.0.0.1", "::1"}, []string{"a.example", "b"}
	asked := 0
	host.Resolving = func() { asked++ }
	fs := New(host)
	const path = "/etc/resolv.conf"
	if s := get(t, fs, path); s != "nameserver 10.0.0.1\nnameserver ::1\nsearch a.example b\n" || asked != 1 {
		t.Errorf("%s says %q, asked %d times", path, s, asked)
	}
	if s := get(t, fs, "/etc/hosts"); s != "127.0.0.1\tlocalhost\n::1\tlocalhost\n10.0.0.2\tbox\n" {
		t.Errorf("hosts: %q", s)
	}
	before, e := fs.Fstatat(AT_FDCWD, path, 0)
	ok(t, e)
	for _, text := range []string{"nameserver 1.2.3.4\n", "", "nameserver 5.6.7.8\n"} {
		fs.SetResolver(text)
		if s := get(t, fs, path); s != text {
			t.Errorf("%s says %q, want %q", path, s, text)
		}
		after, e := fs.Fstatat(AT_FDCWD, path, 0)
		ok(t, e)
		if after.Mtim == before.Mtim {
			t.Error("the file looks as if it had not changed")
		}
		before = after
	}
	put(t, fs, path, "mine\n")
	fs.SetResolver("nameserver 9.9.9.9\n")
	if s := get(t, fs, path); s != "mine\n" {
		t.Errorf("what the program has written became %q", s)
	}
}
