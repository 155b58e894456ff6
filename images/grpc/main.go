// Command grpc is a gRPC server and its client, for calls and streams of bytes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("grpc: ")
	addr := flag.String("addr", ":50051", "serve: `address` to listen on; call: that of the server")
	count := flag.Int("n", 10, "call: how many calls, and messages of a stream")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: grpc [flags] serve|call")
		flag.PrintDefaults()
	}
	flag.Parse()
	var err error
	switch flag.Arg(0) {
	case "serve":
		err = serve(*addr)
	case "call":
		err = call(*addr, *count)
	default:
		flag.Usage()
		os.Exit(2)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// message is what the methods take and give.
type message = wrapperspb.BytesValue

// echo has two methods: Once answers with what it gets, and Stream with each message
// that it gets.
type echo struct{}

func once(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	in := new(message)
	if err := decode(in); err != nil {
		return nil, err
	}
	return in, nil
}

func stream(_ any, s grpc.ServerStream) error {
	for {
		in := new(message)
		switch err := s.RecvMsg(in); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if err := s.SendMsg(in); err != nil {
			return err
		}
	}
}

// service is what protoc-gen-go-grpc would make of
//
//	service Echo {
//	  rpc Once(google.protobuf.BytesValue) returns (google.protobuf.BytesValue);
//	  rpc Stream(stream google.protobuf.BytesValue) returns (stream google.protobuf.BytesValue);
//	}
var service = grpc.ServiceDesc{
	ServiceName: "pvrun.Echo",
	HandlerType: (*any)(nil),
	Methods:     []grpc.MethodDesc{{MethodName: "Once", Handler: once}},
	Streams:     []grpc.StreamDesc{{StreamName: "Stream", Handler: stream, ServerStreams: true, ClientStreams: true}},
}

func serve(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	s := grpc.NewServer()
	s.RegisterService(&service, echo{})
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	go func() {
		<-ctx.Done()
		s.GracefulStop()
	}()
	log.Printf("listening on %s", l.Addr())
	return s.Serve(l)
}

// call makes n calls, and sends n messages over one stream.
func call(addr string, n int) error {
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for i := range n {
		out := new(message)
		if err := conn.Invoke(ctx, "/pvrun.Echo/Once", numbered(i), out, grpc.WaitForReady(true)); err != nil {
			return err
		}
		if err := check(out, i); err != nil {
			return err
		}
	}
	fmt.Printf("%d calls\n", n)
	s, err := conn.NewStream(ctx, &service.Streams[0], "/pvrun.Echo/Stream")
	if err != nil {
		return err
	}
	if err := exchange(s, n); err != nil {
		return err
	}
	fmt.Printf("%d messages\n", n)
	return nil
}

// exchange sends while it receives.
func exchange(s grpc.ClientStream, n int) error {
	sent := make(chan error, 1)
	go func() {
		var err error
		for i := 0; i < n && err == nil; i++ {
			err = s.SendMsg(numbered(i))
		}
		if err == nil {
			err = s.CloseSend()
		}
		sent <- err
	}()
	for i := range n {
		in := new(message)
		if err := s.RecvMsg(in); err != nil {
			return err
		}
		if err := check(in, i); err != nil {
			return err
		}
	}
	if err := s.RecvMsg(new(message)); !errors.Is(err, io.EOF) {
		return fmt.Errorf("behind the last message: %v", err)
	}
	return <-sent
}

// numbered is a message that only number i is.
func numbered(i int) *message {
	return wrapperspb.Bytes(fmt.Appendf(make([]byte, i%5000), "number %d", i))
}

func check(m *message, i int) error {
	if string(m.Value) != string(numbered(i).Value) {
		return fmt.Errorf("answer %d is %.40q", i, m.Value)
	}
	return nil
}
