package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"
)

var (
	_ = add("time", times)
	_ = add("clock", func([]string) { fmt.Println(time.Now().UnixNano()) })
	_ = add("sleep", func(args []string) { time.Sleep(must(time.ParseDuration(args[0]))) })
	_ = add("sleepers", sleepers)
	_ = add("zones", zones)
	_ = add("local", func([]string) { fmt.Println(time.Unix(1_700_000_000, 0)) })
)

// times checks what is true of clocks and timers however slow the machine.
func times([]string) {
	for range 20 {
		begin := time.Now()
		time.Sleep(time.Millisecond)
		if d := time.Since(begin); d < time.Millisecond {
			fmt.Println("slept", d)
		}
	}
	last := time.Now()
	for range 100_000 {
		now := time.Now()
		if now.Sub(last) < 0 || now.Round(0).Sub(last.Round(0)) < -time.Millisecond {
			fmt.Println("time went back by", last.Sub(now))
		}
		last = now
	}
	order := make(chan int, 8)
	for _, n := range []int{3, 1, 2} {
		time.AfterFunc(time.Duration(n)*40*time.Millisecond, func() { order <- n })
	}
	fmt.Println(<-order, <-order, <-order)
	tick := time.NewTicker(2 * time.Millisecond)
	for range 10 {
		<-tick.C
	}
	tick.Stop()
	stopped := time.NewTimer(time.Hour)
	fmt.Println("stopped", stopped.Stop(), stopped.Reset(time.Millisecond))
	<-stopped.C
	ctx, cancel := context.WithDeadline(context.Background(), time.Now().Add(3*time.Millisecond))
	defer cancel()
	select {
	case <-ctx.Done():
		fmt.Println(context.Cause(ctx))
	case <-time.After(time.Minute):
		fmt.Println("too late")
	}
	fmt.Println(time.Unix(1_700_000_000, 5).UTC(), time.Date(2024, 2, 30, 0, 0, 0, 0, time.UTC))
}

// sleepers have many timers at once.
func sleepers([]string) {
	done := make(chan int)
	for i := range 1000 {
		go func() {
			time.Sleep(time.Duration(i%50) * time.Millisecond)
			done <- i
		}()
	}
	got := make([]int, 0, 1000)
	for range 1000 {
		got = append(got, <-done)
	}
	slices.Sort(got)
	fmt.Println(len(slices.Compact(got)))
}

func zones(args []string) {
	at := time.Date(2024, 7, 1, 12, 0, 0, 0, time.UTC)
	for _, name := range args {
		loc, err := time.LoadLocation(name)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(at.In(loc).Format(time.RFC1123Z), at.AddDate(0, 6, 0).In(loc))
	}
}
