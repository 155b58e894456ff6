package main

import "github.com/pvrun/pvrun/internal/network"

// checkUserNetwork looks for pvrun-net, which --net user needs.
func checkUserNetwork() finding {
	f := finding{Name: "user networks", OK: true}
	path, err := network.Helper()
	if err != nil {
		return f.failed(err, "without it programs with sockets need --net none, tap or bridge")
	}
	f.Detail = path
	return f
}

// checkTAP looks whether TAP devices can be opened.
func checkTAP() finding {
	f := finding{Name: "TAP devices", OK: true}
	if err := network.CheckTAP(); err != nil {
		return f.failed(err, "without it there is no --net tap or bridge")
	}
	f.Detail = network.TUNDevice
	return f
}
