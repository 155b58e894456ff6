// Command pvrun-net is the virtual network of `pvrun run --net user`: a switch for
// machines, a gateway with DHCP and DNS, and the way from it to the host's network,
// all without privileges. pvrun starts it; nobody else need.
//
//	pvrun-net            one network for the process that holds the other end of descriptor 3
//	pvrun-net --shared NAME
//	                     descriptor 3 is a listening socket, NAME its path: one network
//	                     for all that connect, until the last has left
//
// # Protocol
//
// Each connection is a unix socket of type SOCK_SEQPACKET and stands for one machine,
// which is on the network as long as the connection is. A message is a JSON object,
// at most 4096 bytes; descriptors go beside it (SCM_RIGHTS, unix(7)). The machine's
// side may send the next request before it has the reply to the last. Replies come in
// the order of the requests.
//
//	-> {"version":1, "join":{"name":"web", "mac":"02:00:00:00:00:01", "mtu":65520}}   with one descriptor
//	<- {"joined":{"address":"192.168.127.2/24", "gateway":"192.168.127.1",
//	    "dns":"192.168.127.1", "search":"pvrun.internal", "mtu":65520}}
//	-> {"expose":{"network":"tcp", "port":80}}                                       with one descriptor
//	<- {}
//	<- {"error":"..."}   in place of either
//
// join is the first request. Its descriptor is a socket, SOCK_SEQPACKET or SOCK_DGRAM,
// that carries the machine's frames: one Ethernet frame for each message, behind
// FrameHeader bytes that are zero. mtu 0 is the network's own, which is never
// exceeded. The first machine on a network has the address that the example shows.
//
// expose hands over a socket of the host's, a TCP listener or a bound UDP socket, for
// port of the machine.
//
// A side that closes, or shuts down for writing, leaves. pvrun-net closes its end
// when it has let go of all that was the machine's.
package main
