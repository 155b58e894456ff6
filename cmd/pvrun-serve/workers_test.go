package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/pvrun/pvrun/cmd/pvrun-serve/pool"
)

// workers are the processes that a pvrun-serve has.
func (s *serve) workers() (pids []int) {
	s.t.Helper()
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", s.cmd.Process.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, task := range tasks {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", s.cmd.Process.Pid, task.Name()))
		for word := range strings.FieldsSeq(string(b)) {
			pid, _ := strconv.Atoi(word)
			pids = append(pids, pid)
		}
	}
	return pids
}

// alive says whether a process is there, and does not only wait to be asked how it ended.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(b), ") Z ")
}

// A worker that is killed takes its invocations with it and nothing else; who asks next is
// answered, and the log says what has happened.
func TestWorkerKilled(t *testing.T) {
	s := start(t, "--workers", "always", "--min", "2", "--timeout", "10m", "f="+hostile(t))
	s.ready("f")
	answers := make(chan string)
	go func() {
		status, text := s.post("f", "hang")
		answers <- fmt.Sprint(status, " ", text)
	}()
	s.await("it runs", func() bool { return s.status("f").Running == 1 })
	pids := s.workers()
	if len(pids) != 1 {
		t.Fatalf("workers %v", pids)
	}
	syscall.Kill(pids[0], syscall.SIGKILL)
	reason := fmt.Sprintf("worker %d: signal: killed", pids[0])
	if got, want := <-answers, "502 the machine is lost: "+reason+"\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	s.await("there are others", func() bool { return s.status("f").Idle == 2 })
	if status, text := s.post("f", "hello you"); status != 200 || text != "hello you" {
		t.Errorf("got %d, %s", status, text)
	}
	if f := s.status("f"); f.Outcomes[pool.Fault] != 1 {
		t.Errorf("outcomes %v", f.Outcomes)
	}
	if !strings.Contains(s.text(), reason) {
		t.Errorf("the log does not say: %s", reason)
	}
	s.end(sigterm)
}

// Workers end with the process that has started them, whatever ends that.
func TestWorkersEnd(t *testing.T) {
	image := hostile(t)
	for _, how := range []string{"killed", "killed, and the worker hangs", "ended"} {
		s := start(t, "--workers", "always", "--min", "2", "f="+image)
		s.ready("f")
		s.await("clones are there", func() bool { return s.status("f").Idle == 2 })
		pids := s.workers()
		if len(pids) != 1 || !alive(pids[0]) {
			t.Fatalf("workers %v", pids)
		}
		if how != "ended" {
			go s.post("f", "spin")
			s.await("it runs", func() bool { return s.status("f").Running == 1 })
			if how != "killed" {
				syscall.Kill(pids[0], syscall.SIGSTOP)
			}
			s.cmd.Process.Kill()
			<-s.done
			s.cmd.Wait()
		} else {
			s.end(sigterm)
		}
		s.await("no worker is left", func() bool { return !alive(pids[0]) })
		s.nothingLeft()
	}
}

// Who asks all processes to end has what is under way answered.
func TestWorkersAreAsked(t *testing.T) {
	s := start(t, "--workers", "always", "f="+hostile(t))
	s.ready("f")
	answer := make(chan string)
	go func() {
		_, text := s.post("f", "sleep 1000")
		answer <- text
	}()
	s.await("it runs", func() bool { return s.status("f").Running == 1 })
	for _, pid := range s.workers() {
		syscall.Kill(pid, syscall.SIGTERM)
		syscall.Kill(pid, syscall.SIGINT)
		syscall.Kill(pid, syscall.SIGHUP)
	}
	s.cmd.Process.Signal(sigterm)
	if text := <-answer; text != "sleep 1000" {
		t.Errorf("got %q", text)
	}
	<-s.done
	if err := s.cmd.Wait(); err != nil {
		t.Error(err)
	}
}
