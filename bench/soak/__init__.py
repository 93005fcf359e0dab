"""Hours of mixed load with cancels, disconnects, bad input and worker kills: is memory flat, is anything lost?"""
