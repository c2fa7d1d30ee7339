package cli

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
)

// CheckAddress refuses what no listener could be given.
func CheckAddress(flag, address string) error {
	_, port, err := net.SplitHostPort(address)
	if n, wrong := strconv.Atoi(port); err != nil || wrong != nil || n < 0 || n > 65535 {
		return Usagef("%s %q is not an address such as 127.0.0.1:8091; port 0 picks a free one",
			flag, address)
	}
	return nil
}

// AddressInUse turns the error of a listener into the one sentence that helps.
func AddressInUse(err error, address, flag string) error {
	if !errors.Is(err, syscall.EADDRINUSE) {
		return err
	}
	return fmt.Errorf("%s is in use by another program: choose another address with %s; "+
		"port 0 picks a free one", address, flag)
}
