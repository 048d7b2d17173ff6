// Package weboffice is the domain of IMM WebOffice as these functions use it: the parameters of
// GenerateWebofficeToken in every spelling that callers copy from the vendor's pages, documents,
// formats, permissions, users, limits and errors. It reads and settles; it decides nothing about
// who may do what (package policy does) and talks to nobody. Standard library only.
//
// A request passes through in three steps: ParseRequest reads what a caller sent, Validate holds it
// to the vendor's limits, and Settle turns a granted permission into one that IMM can serve for the
// document's format. After Settle the permission has only shrunk.
package weboffice
