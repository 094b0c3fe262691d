module hearth.invalid/lambda

go 1.19
