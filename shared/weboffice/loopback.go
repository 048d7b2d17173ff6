package weboffice

import "net"

// Loopback says whether a host is this machine, the only one that anything may be sent to over
// plain http.
func Loopback(host string) bool { return host == "localhost" || net.ParseIP(host).IsLoopback() }
