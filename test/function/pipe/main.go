// Command pipe connects each client of $PORT with $SERVICE, and carries bytes both ways. It
// knows nothing of machines.
package main

import (
	"io"
	"log"
	"net"
	"os"
	"sync"
)

func main() {
	l, err := net.Listen("tcp", ":"+os.Getenv("PORT"))
	if err != nil {
		log.Fatal(err)
	}
	for {
		c, err := l.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go serve(c.(*net.TCPConn))
	}
}

func serve(c *net.TCPConn) {
	defer c.Close()
	d, err := net.Dial("tcp", os.Getenv("SERVICE"))
	if err != nil {
		log.Print(err)
		return
	}
	s := d.(*net.TCPConn)
	defer s.Close()
	var both sync.WaitGroup
	both.Go(func() { carry(c, s) })
	both.Go(func() { carry(s, c) })
	both.Wait()
}

// carry copies to the end, and ends. Whatever goes wrong the other side finds too.
func carry(to, from *net.TCPConn) {
	if _, err := io.Copy(to, from); err != nil {
		to.SetLinger(0)
		from.SetLinger(0)
		to.Close()
		from.Close()
		return
	}
	to.CloseWrite()
}
