package errcode

// The words that flags take, for the tests.
var (
	CallNames  = callNames
	FaultNames = faultNames
)
