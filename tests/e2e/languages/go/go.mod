module every-go

go 1.19

require hearth.invalid/lambda v0.0.0

replace hearth.invalid/lambda => ../../../../sdk/go
